"""Failures that say nothing about Kaggle, because this machine or sandbox lacks what Kaggle gives."""

import re
from typing import NamedTuple

from dfdc_kit.challenge import Challenge
from dfdc_kit.formatting import join_names
from dfdc_kit.harness.log_parser import failure_reason
from dfdc_kit.profiles import Profile
from dfdc_kit.report.run_report import Observation
from dfdc_kit.submission.external_data import KIND_FOLDERS
from dfdc_kit.submission.packages import (
    CATCH_IMPORT_ERROR,
    HostedPackages,
    MissingModule,
    Place,
    explain_missing_module,
    explain_removed,
    hosted_packages,
)

NO_GPU = re.compile(
    r"Torch not compiled with CUDA|No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device"
    r"|on a CUDA device but torch\.cuda\.is_available\(\) is False|libcuda\.so|libcudart\.so|CUDA driver version is"
    r"|Invalid device id|CUDA error: (?:no|invalid device)|Could not find (?:a|any) GPU|NVML",
    re.IGNORECASE,
)
HOSTED_PROGRAMS = {  # in Kaggle's images, old and new -> the Debian package that provides it
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    **{name: name for name in ("wget", "curl", "git", "unzip", "zip", "gcc", "make", "cmake", "tar", "sox")},
    "g++": "g++",
    "7z": "p7zip-full",
}
NO_PROGRAM = re.compile(  # in the words of Python, sh and bash
    r"(?:No such file or directory: '|: \d+: |: line \d+: |^)([\w+.-]+)(?:'|: (?:command )?not found)", re.MULTILINE
)
QUOTED_PATH = re.compile(r"'(/[^']*)'")
WRITABLE_HOSTED = ("/kaggle/working", "/kaggle/temp", "/kaggle/tmp", "/tmp", "/root", "/home")  # noqa: S108


class Cause(NamedTuple):
    """What is missing here that Kaggle has, and how to provide it."""

    what: str
    fix: str


def environment_cause(seen: Observation, challenge: Challenge, profile: Profile) -> Cause | None:
    """Why the failed run `seen` says nothing about Kaggle; None if it does: nothing that it lacked here is hosted."""
    text = "\n".join(seen.last_output)
    exception = failure_reason(seen.last_output).exception
    hosted = hosted_packages(profile)
    return (
        _missing_modules(seen, hosted)
        or _gpu(seen, profile, text)
        or hidden_input(seen, exception)
        or _unmounted(seen, exception, challenge.slug)
        or _optional_part(exception)
        or _program(exception, text)
        or _closed_file(exception, text)
        or _old_library(seen, exception, hosted)
    )


def explained_modules(seen: Observation, hosted: HostedPackages | None) -> list[MissingModule]:
    """What to do about each module that could not be imported."""
    folders = list(dict.fromkeys(f"/kaggle/input/{_folder(path)}" for path in seen.unmounted_inputs))
    return [explain_missing_module(module, hosted, folders) for module in seen.missing_modules]


def _missing_modules(seen: Observation, hosted: HostedPackages | None) -> Cause | None:
    """A module of the hosted image, or of an input that is not attached here; not one that Kaggle lacks as well."""
    found = explained_modules(seen, hosted)
    if not found or any(one.place is Place.NEEDS_WHEEL for one in found):
        return None
    if all(one.place is Place.OWN_FILE for one in found) and not seen.unmounted_inputs:
        return None
    commands = [one.command.removeprefix("pip install ") for one in found if one.place is Place.HOSTED_IMAGE]
    commands = [name for name in commands if name]
    attach = [one.sentence for one in found if one.place is Place.OWN_FILE]
    install = f"Install: pip install {' '.join(dict.fromkeys(commands))}" if commands else ""
    return Cause(" ".join(one.sentence for one in found), install or " ".join(attach) or CATCH_IMPORT_ERROR)


def _gpu(seen: Observation, profile: Profile, text: str) -> Cause | None:
    if not NO_GPU.search(text) or not profile.hardware.gpu or seen.outcome.usage.gpu is not None:
        return None
    return Cause(
        f"It needs an NVIDIA GPU: there is none here; hosted: {profile.hardware.gpu}.",
        "Run it on a machine with an NVIDIA GPU, or let it use the CPU where there is none: "
        'device = "cuda" if torch.cuda.is_available() else "cpu", torch.load(..., map_location=device).',
    )


def hidden_input(seen: Observation, exception: str = "") -> Cause | None:
    """A path below /kaggle/input that this sandbox cannot show there: the exception names it, or no video was read."""
    hidden = [path for path in seen.hidden_inputs if path in exception] or ([] if seen.reads else seen.hidden_inputs)
    if not hidden:
        return None
    if hidden[0].startswith("/"):
        what = f"This sandbox cannot show {hidden[0]}, which is writable on Kaggle."
        return Cause(what, "Use a backend that can (dfdc doctor), or write to the current folder by a relative path.")
    return Cause(
        f"This sandbox cannot show /kaggle/input, where {hidden[0]} is on Kaggle.",
        "Use a backend that can (dfdc doctor), or read the folder from the environment variable DFDC_INPUT_DIR.",
    )


def _unmounted(seen: Observation, exception: str, competition: str) -> Cause | None:
    """A path of the input that is not provided here, by name."""
    named = [path for path in seen.unmounted_inputs if path in exception]
    if exception and not named:
        return None
    paths = named or seen.unmounted_inputs
    if not paths:
        return None
    what = join_names(f"/kaggle/input/{path}" for path in paths)
    return Cause(f"Not mounted here: {what}.", how_to_mount(paths, competition))


def how_to_mount(paths: list[str], competition: str) -> str:
    """How to provide paths below /kaggle/input that a run could not see."""
    slugs = list(dict.fromkeys(map(_slug, paths)))
    others = [slug for slug in slugs if slug != competition]
    parts = []
    if competition in slugs:
        parts.append("Name a data folder that has all of the competition: --data FOLDER.")
    if others:
        options = " ".join(f"--input {slug}=FOLDER" for slug in others)
        parts.append(f"Attach here what is attached on Kaggle: {options}, or [[inputs]] in submission.toml.")
    return " ".join(parts)


def _folder(path: str) -> str:
    """The folder of a data set (or competition) that holds a path below /kaggle/input."""
    parts = path.split("/")
    depth = {"competitions": 2, **dict.fromkeys(KIND_FOLDERS, 3)}.get(parts[0], 1)
    return "/".join(parts[:depth])


def _slug(path: str) -> str:
    """The data set (or competition) of a path below /kaggle/input."""
    parts = path.split("/")
    if parts[0] == "competitions" and len(parts) > 1:
        return parts[1]
    return "/".join(parts[1:3]) if parts[0] in KIND_FOLDERS and len(parts) > 2 else parts[0]


def _optional_part(exception: str) -> Cause | None:
    """A package of the hosted image that another one needs for a part of its work: no module is missing by name."""
    if "IProgress not found" not in exception:
        return None
    what = "ipywidgets, which tqdm.notebook needs, is not installed here; Kaggle's image has it."
    return Cause(what, "Install: pip install ipywidgets")


def _program(exception: str, text: str) -> Cause | None:
    """A command of the hosted image that is not installed here."""
    for match in NO_PROGRAM.finditer(f"{text}\n{exception}"):
        if package := HOSTED_PROGRAMS.get(match[1]):
            return Cause(
                f"The program {match[1]} is not installed here; Kaggle's image has it.",
                f"Install it, for instance: sudo apt install {package}",
            )
    return None


def _closed_file(exception: str, text: str) -> Cause | None:
    """A file or folder that the sandbox closes and Kaggle does not."""
    if "out of pty devices" in text:
        return Cause("This sandbox has no pseudo-terminals; Kaggle has.", "Use another backend: dfdc doctor")
    path = QUOTED_PATH.search(exception)
    if path is None or re.search(r"/kaggle/(?:input|src)/", path[1]):  # read-only there, too
        return None
    if "Read-only file system" in exception or "PermissionError" in exception:
        writable = path[1].startswith(WRITABLE_HOSTED) or path[1] == "/kaggle"  # which it wanted to make
        what = "writable" if writable else "readable"
        if writable or not path[1].startswith("/kaggle"):
            return Cause(
                f"The sandbox closes {path[1]}, which is {what} on Kaggle.",
                "Use another backend: dfdc doctor lists them. On Kaggle this step works.",
            )
    return None


def _old_library(seen: Observation, exception: str, hosted: HostedPackages | None) -> Cause | None:
    """A function that the library here has removed and the hosted one has not."""
    found = explain_removed(exception, seen.package_versions, [hosted] if hosted else [])
    if found is None or not found.hosted_works:
        return None
    return Cause(found.sentence, "Install the hosted version, or change the code so that it runs with both.")
