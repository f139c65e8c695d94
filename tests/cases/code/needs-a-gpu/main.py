raise RuntimeError("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU")
