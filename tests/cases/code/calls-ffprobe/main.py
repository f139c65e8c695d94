import os
import subprocess

os.environ["PATH"] = "/nowhere"
subprocess.run(["ffprobe", "-version"], check=True)
