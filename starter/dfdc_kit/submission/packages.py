"""The packages that a submission names, with versions or without, as in `torch>=2.0`, beside what is installed."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NOT_INSTALLED = "not installed"


def no_packages(packages: Iterable[str]) -> list[str]:
    """Those that name no package."""
    return [package for package in packages if not _is_requirement(package)]


def distributions(packages: Iterable[str]) -> list[str]:
    """Their names, without versions; those that this system or Python does not need are left out."""
    return [needed.name for needed in _needed(packages)]


def unmet(packages: Iterable[str], versions: Mapping[str, str]) -> list[str]:
    """Those that are not installed or have another version, each with what is here; `versions`: by name."""
    found = []
    for needed in _needed(packages):
        here = versions.get(needed.name, NOT_INSTALLED)
        if here == NOT_INSTALLED:
            found.append(f"{needed.name}{needed.specifier} ({NOT_INSTALLED})")
        elif not _is_met(needed, here):
            found.append(f"{needed.name}{needed.specifier} (here {here})")
    return found


def _needed(packages: Iterable[str]) -> "Iterator[Requirement]":
    from packaging.requirements import Requirement

    for needed in map(Requirement, packages):
        if needed.marker is None or needed.marker.evaluate():
            yield needed


def _is_requirement(package: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(package)
    except InvalidRequirement:
        return False
    return True


def _is_met(needed: "Requirement", version: str) -> bool:
    from packaging.version import InvalidVersion

    try:
        return not needed.specifier or needed.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False
