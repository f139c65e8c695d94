"""Packages: what a submission requires, what the hosted image has, and what a failed import means."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dfdc_kit.profiles import FOLDER, Profile
from dfdc_kit.settings import Settings, read_toml

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NOT_INSTALLED = "not installed"
CATCH_IMPORT_ERROR = "Import it inside try: ... except ImportError: ..."


class HostedPackages(Settings, frozen=True, kw_only=True):
    """The packages of a hosted image: `packages` maps each distribution to its version, empty where not known."""

    title: str
    as_of: str
    python: str
    source: str
    packages: dict[str, str]


class Removed(Settings, frozen=True, kw_only=True):
    """A function that `library` removed in `version`; regular expressions find it in the text of an exception."""

    patterns: list[str]
    feature: str
    library: str
    version: str
    instead: str


class KnownPackages(Settings, frozen=True, kw_only=True):
    """What is known about public packages: packages.toml."""

    public: list[str]
    kaggle_only: list[str]
    distributions: dict[str, str]
    removed: list[Removed]


class Place(StrEnum):
    """Where a module that is missing here comes from on the hosted machine."""

    HOSTED_IMAGE = "hosted-image"
    NEEDS_WHEEL = "needs-wheel"
    OWN_FILE = "own-file"


class MissingModule(Struct, frozen=True):
    """A module that cannot be imported here: why, what to do, and what to type, if there is a command."""

    module: str
    place: Place
    sentence: str
    command: str = ""


class RemovedFeature(Struct, frozen=True):
    """A function that a library has removed. `hosted_works`: whether the hosted version has it; None if not known."""

    feature: str
    sentence: str
    hosted_works: bool | None


@cache
def _known() -> KnownPackages:
    return read_toml(Path(__file__).with_name("packages.toml"), KnownPackages)


@cache
def _read_hosted(name: str) -> HostedPackages:
    return read_toml(FOLDER / "packages" / f"{name}.toml", HostedPackages)


def hosted_packages(profile: Profile) -> HostedPackages | None:
    """The packages of the profile's hosted image; None if the profile names none. Raises DataError."""
    return _read_hosted(profile.packages) if profile.packages else None


def distribution_of(module: str) -> str:
    """The distribution that provides an imported module, as PyPI writes its name: `cv2.dnn` -> `opencv-python`.

    >>> [distribution_of(name) for name in ("cv2.dnn", "facenet_pytorch", "numpy.linalg")]
    ['opencv-python', 'facenet-pytorch', 'numpy']
    """
    top = module.split(".")[0]
    return canonical(_known().distributions.get(top, top))


def canonical(name: str) -> str:
    """The name of a distribution as PyPI compares it: lower case, with hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_installed(module: str) -> bool:
    """Whether the top-level package of `module` is in the standard library or in an installed distribution."""
    top = module.split(".")[0]
    return top in sys.stdlib_module_names or top in _installed_modules()


@cache
def _installed_modules() -> frozenset[str]:
    """Top-level modules of all installed distributions, and of folders on the path that none of them lists."""
    import pkgutil

    return frozenset(module.name for module in pkgutil.iter_modules()) | frozenset(sys.builtin_module_names)


def explain_missing_module(
    module: str, hosted: HostedPackages | None, search_paths: Sequence[str] = ()
) -> MissingModule:
    """What to do about a module that cannot be imported here.

    `search_paths`: folders below /kaggle/input that the program adds to sys.path or installs from and that are not
    mounted: a module that no package is known for comes from there.
    """
    if module.partition(".")[0] in _known().kaggle_only:
        sentence = f"{module} is part of Kaggle's images only, and of no use in the rerun, which has no internet."
        return MissingModule(module, Place.HOSTED_IMAGE, sentence)
    if module.startswith("google.colab"):
        sentence = "google.colab is part of Colab only, neither here nor on Kaggle."
        return MissingModule(module, Place.OWN_FILE, sentence, CATCH_IMPORT_ERROR)
    module = module.partition(".")[0]
    distribution = distribution_of(module)
    version = (hosted.packages if hosted else {}).get(distribution)
    if hosted and version is not None:
        seen = f" ({distribution} {version})" if version else f" ({distribution})"
        sentence = f"{module} is in the hosted image{seen}, but not installed here: install it."
        return MissingModule(module, Place.HOSTED_IMAGE, sentence, f"pip install {distribution}")
    if search_paths:
        where = ", ".join(dict.fromkeys(search_paths))
        sentence = f"{module} is a file of a data set that is not attached here, probably in {where}."
        return MissingModule(module, Place.OWN_FILE, f"{sentence} Attach it: --input SLUG=FOLDER")
    if distribution in _known().public:
        image = f"the hosted image ({hosted.as_of})" if hosted else "the hosted images"
        sentence = f"{module} is not in {image} either: put its wheel into a folder wheels/."
        return MissingModule(module, Place.NEEDS_WHEEL, sentence, f"pip download --no-deps -d wheels {distribution}")
    sentence = (
        f"{module} is in no list of packages: it is a file of yours that is missing in the submission, or of a data set"
        f" that is not attached (--input SLUG=FOLDER)."
    )
    return MissingModule(module, Place.OWN_FILE, sentence)


def explain_removed(
    exception: str, versions: Mapping[str, str], hosted: Sequence[HostedPackages] = ()
) -> RemovedFeature | None:
    """The removed function behind the text of an exception, or None.

    `versions`: of the distributions (and of `python`) that the failed program ran with; `hosted`: the images to
    compare with, the run's own first: the answer's `hosted_works` speaks of that one.
    """
    for removed in _known().removed:
        here = versions.get(removed.library, NOT_INSTALLED)
        if not any(re.search(pattern, exception) for pattern in removed.patterns):
            continue
        if here != NOT_INSTALLED and _is_older(here, removed.version):
            continue  # it is still in the version here: the exception has another cause
        seen = [f"here {here}"] if here != NOT_INSTALLED else []
        there = [(image, _version_in(image, removed.library)) for image in hosted]
        seen += [f"{image.title}: {version}" for image, version in there if version]
        works = _is_older(there[0][1], removed.version) if there and there[0][1] else None
        sentence = f"{removed.library} {removed.version} removed {removed.feature}"
        sentence += f" ({'; '.join(seen)})" if seen else ""
        return RemovedFeature(removed.feature, f"{sentence}. Use {removed.instead}.", works)
    return None


def _version_in(image: HostedPackages, library: str) -> str:
    return image.python if library == "python" else image.packages.get(library, "")


def _is_older(version: str, than: str) -> bool:
    """Compare by the first two numbers, which is as far as versions of hosted images are known."""

    def key(text: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", text)[:2]]

    return key(version) < key(than)


def no_packages(packages: Iterable[str]) -> list[str]:
    """The entries that are not valid requirements."""
    return [package for package in packages if not _is_requirement(package)]


def distributions(packages: Iterable[str]) -> list[str]:
    """The names of the requirements, without versions; those that this system or Python does not need are left out."""
    return [needed.name for needed in _needed(packages)]


def unmet(packages: Iterable[str], versions: Mapping[str, str]) -> list[str]:
    """The requirements that are not installed or have another version, each with what is here; `versions`: by name."""
    found = []
    for needed in _needed(packages):
        here = versions.get(needed.name, NOT_INSTALLED)
        if here == NOT_INSTALLED:
            found.append(f"{needed.name}{needed.specifier} ({NOT_INSTALLED})")
        elif not _is_met(needed, here):
            found.append(f"{needed.name}{needed.specifier} (here {here})")
    return found


@cache
def installed_versions() -> dict[str, str]:
    """The version of each installed distribution by its canonical name, and that of `python`."""
    versions: dict[str, str] = {canonical(found.name): found.version for found in metadata.distributions()}
    versions["python"] = ".".join(map(str, sys.version_info[:3]))
    return versions


def _needed(packages: Iterable[str]) -> "Iterator[Requirement]":
    packages = list(packages)
    if not packages:
        return
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
