"""What a program asked for and did not get: paths of its input, and modules."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dfdc_kit.harness.log_parser import failure_reason
from dfdc_kit.harness.stage import Staged
from dfdc_kit.submission.code import CodeSubmission
from dfdc_kit.submission.packages import installed_versions, is_installed
from dfdc_kit.submission.program import Program

INPUT_PATH = re.compile(r"(?:/kaggle/input|(?:^|(?<=['\"\s:=(]))(?:\.\./)+input)/([\w.@+ -]+(?:/[\w.@+ -]+)*)(.?)")
PATTERN_SIGNS = ("*", "?", "[", "{", "%", "$", "\0")  # after these a name is only a beginning
MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named ['\"]([\w.]+)['\"]")


def input_paths(texts: Iterable[str]) -> set[str]:
    """Paths below /kaggle/input in texts of a program or lines of a log, as far as they are fixed.

    >>> sorted(input_paths(["../input/weights/a.pt", "open '/kaggle/input/faces/*.png'"]))
    ['faces', 'weights/a.pt']
    """
    found = set()
    for text in texts:
        for match in INPUT_PATH.finditer(text):
            path, follows = match[1].rstrip(" ."), match[2]
            if follows in PATTERN_SIGNS and follows:
                path = path.rpartition("/")[0]
            if path:
                found.add(path)
    return found


def missing_inputs(
    program: Program, staged: Staged, last_output: list[str], *, shows_paths: bool
) -> tuple[list[str], list[str]]:
    """Paths below /kaggle/input that code or log name: those that are not mounted; and those that are, but that this
    sandbox does not show under that name (`shows_paths` False).
    """
    logged = input_paths(last_output)
    named = logged | input_paths(text for text, _ in program.texts)
    missing = {path for path in named if staged.lacks(path)}
    longest = {path for path in missing if not any(other.startswith(f"{path}/") for other in missing)}
    return sorted(longest), [] if shows_paths else sorted(logged - missing)


def failed_imports(
    submission: CodeSubmission, program: Program, last_output: list[str], *, same_python: bool
) -> dict[str, Any]:
    """What explains the failure of a program, as fields of an Observation: all modules that it imports and that are
    missing, and the versions of the packages that are not. same_python: it ran with the packages of this Python.
    """
    found: dict[str, Any] = {"package_versions": installed_versions() if same_python else {}}
    first = MISSING_MODULE.search(failure_reason(last_output).exception)
    if first is None:
        return found
    names = {first[1].partition(".")[0]}
    if same_python:  # all at once, not only the first
        imported = {one.module.partition(".")[0] for one in program.imports if not one.optional}
        names |= {name for name in imported - program.local_modules if not is_installed(name)}
    neighbours = [path for name in sorted(names) if (path := _beside(submission, name))]
    return {**found, "missing_modules": sorted(names), "module_beside": neighbours[0].name if neighbours else ""}


def _beside(submission: CodeSubmission, module: str) -> Path | None:
    """The file or folder of a module next to a single-file submission, which does not belong to it."""
    candidates = (submission.folder / f"{module}.py", submission.folder / module)
    return next((path for path in candidates if submission.alone and path.exists()), None)
