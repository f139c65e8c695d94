import os
import subprocess

os.environ["PATH"] = "/nowhere"
subprocess.check_call(["/bin/sh", "-c", "ffmpeg -version"])
