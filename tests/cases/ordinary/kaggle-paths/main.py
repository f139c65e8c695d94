"""Kaggle's absolute paths: what can be written, what only read."""

import contextlib
import csv
import errno
import os
from pathlib import Path

from common import run_checks

INPUT = Path("/kaggle/input")


def can_write(folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = Path(folder) / "written"
    file.write_text("x")
    assert file.read_text() == "x"
    file.unlink()
    with contextlib.suppress(OSError):  # it holds something, or is the top of a mount
        Path(folder).rmdir()


def check_current_directory():
    assert os.getcwd() == "/kaggle/working"


def check_working_is_writable():
    can_write("/kaggle/working")


def check_kaggle_temp_is_writable():
    can_write("/kaggle/temp")


def check_kaggle_tmp_is_writable():
    can_write("/kaggle/tmp/frames")


def check_other_folders_below_kaggle_can_be_made():
    can_write("/kaggle/features")


def check_tmp_is_writable():
    can_write("/tmp/.cache/torch")


def check_home_is_writable():
    can_write(os.path.expanduser("~/.cache/torch/checkpoints"))


def check_root_is_the_home():
    can_write("/root/.cache/torch/hub/checkpoints")


def check_dev_shm_is_writable():
    can_write(f"/dev/shm/dfdc-frames-{os.getpid()}")


def check_input_is_read_only():
    for folder in (INPUT, next(INPUT.iterdir())):
        try:
            (folder / "written").write_text("x")
        except OSError as error:
            assert error.errno in (errno.EROFS, errno.EACCES), error
        else:
            raise AssertionError(f"{folder} was written to")


def check_input_by_absolute_and_relative_path():
    assert sorted(os.listdir("/kaggle/input")) == sorted(os.listdir("../input"))
    sample = next(INPUT.rglob("sample_submission.csv"))
    with sample.open() as file:
        assert len(list(csv.reader(file))) > 1


def check_own_sources_can_be_read():
    assert Path(__file__).read_text()
    assert Path(__file__).parent == Path("/kaggle/src")


run_checks(globals())
