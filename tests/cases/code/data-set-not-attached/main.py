import pathlib

weights = pathlib.Path("/kaggle/input/blazeface-weights/blazeface.pth").read_bytes()
