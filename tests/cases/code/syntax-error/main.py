import pathlib

value = = 3
