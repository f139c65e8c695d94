"""What is to be submitted: the code, the accelerator it asks for, and the bundle that is sent."""

import re
from pathlib import Path

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.errors import SubmissionError, UsageError, suggest
from dfdc_kit.harness.rehearsal.rehearse import RehearsalRequest
from dfdc_kit.harness.request import RunRequest
from dfdc_kit.kaggle.submit.bundle import FILES, MOST_CHARACTERS, KernelBundle, kernel_bundle
from dfdc_kit.kaggle.submit.checks import bundle_errors
from dfdc_kit.profiles import Profile
from dfdc_kit.profiles import load as load_profile
from dfdc_kit.settings import Settings, read_toml
from dfdc_kit.submission.code import CodeSubmission
from dfdc_kit.submission.packages import distributions

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-"


class SubmitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be submitted, and how."""

    submission: CodeSubmission
    challenge: Challenge
    profile_name: str
    profile: Profile
    bundle: KernelBundle
    message: str = ""
    untested_here: str = ""  # why no complete local run is required; empty: it is


def submit_request(
    submission: CodeSubmission,
    challenge: Challenge,
    *,
    profile_name: str = "",
    accelerator: str = "",
    slug: str = "",
    message: str = "",
    untested_here: str = "",
) -> SubmitRequest:
    """The request for `submission`. Raises UsageError, or SubmissionError with all problems of the code at once.

    Without `profile_name`, today's hosted machine: with a GPU if the submission declares one.
    """
    gpu = submission.settings.gpu
    profile_name = profile_name or (GPU_PROFILE if gpu or accelerator else CPU_PROFILE)
    profile = load_profile(profile_name)
    _check_slug(slug)
    chosen = choose_accelerator(accelerator, profile, gpu=gpu)
    bundle = kernel_bundle(submission, challenge.slug, chosen, slug)
    if problems := bundle_errors(submission, bundle, profile):
        raise SubmissionError(
            f"{submission.name} cannot be submitted: {'; '.join(problems)}.",
            hint="For the manifest of external data, see docs/how-to/run-your-own-submission.md.",
        )
    return SubmitRequest(
        submission=submission,
        challenge=challenge,
        profile_name=profile_name,
        profile=profile,
        bundle=bundle,
        message=message,
        untested_here=untested_here,
    )


def request_warnings(request: SubmitRequest) -> list[str]:
    """What may fail at Kaggle and cannot be checked here, in sentences."""
    image = load_profile(GPU_PROFILE).software.keys() | request.profile.software.keys()  # the image is today's
    known = {_project(name) for name in image}
    known |= {_project(path.name.split("-")[0]) for path in request.bundle.files if path.suffix == ".whl"}
    unknown = [name for name in distributions(request.submission.settings.packages) if _project(name) not in known]
    if not unknown:
        return []
    return [
        f"not known to be in Kaggle's image, where nothing can be downloaded: {', '.join(unknown)};"
        " add it as a wheel in wheels/"
    ]


def run_request(request: SubmitRequest, dataset: Dataset) -> RunRequest:
    """A local run of it, under the limits of the hosted machine."""
    return RunRequest(
        submission=request.submission,
        dataset=dataset,
        challenge=request.challenge,
        profile_name=request.profile_name,
        profile=request.profile,
    )


def rehearsal_request(request: SubmitRequest, dataset: Dataset) -> RehearsalRequest:
    """A full rehearsal of it, with the videos of `dataset`."""
    return RehearsalRequest(
        submission=request.submission,
        clips=dataset.videos,
        challenge=request.challenge,
        profile_name=request.profile_name,
        profile=request.profile,
    )


def _project(name: str) -> str:
    """A package's normalized name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_slug(slug: str) -> None:
    most = MOST_CHARACTERS - len(FILES)
    if slug and (not 5 <= len(slug) <= most or set(slug) - set(ALPHABET) or slug.strip("-") != slug):
        raise UsageError(
            f"{slug!r} is not a valid slug: expected a-z, 0-9 and inner hyphens, 5 to {most} characters.",
            hint="For example: --slug dfdc-my-detector",
        )


TABLE = Path(__file__).with_name("accelerators.toml")
CPU_PROFILE, GPU_PROFILE = "kaggle-today-cpu", "kaggle-today-gpu"


class Retired(Settings, frozen=True, kw_only=True):
    """An accelerator that Kaggle no longer offers."""

    hardware: str
    runs_on: str  # what a session gets instead; empty: a CPU


class Accelerators(Settings, frozen=True, kw_only=True):
    """The table of accelerators."""

    source: str
    as_of: str
    offered: dict[str, str]  # name -> hardware
    retired: dict[str, Retired]


def accelerators() -> Accelerators:
    """The accelerators that Kaggle offers, and those it has retired."""
    return read_toml(TABLE, Accelerators)


def choose_accelerator(asked: str, profile: Profile, *, gpu: bool) -> str:
    """The accelerator's name: `asked`, else that of the profile's GPU if the submission needs one, else empty.

    Raises UsageError for a retired one, naming its replacement, and for an unknown name.
    """
    table = accelerators()
    if not asked and not gpu:
        return ""
    wanted = asked or _of_hardware(profile.hardware.gpu, table)
    names = {name.lower(): name for name in (*table.offered, *table.retired)}
    name = names.get(wanted.lower())
    if name is None:
        known = suggest(wanted, table.offered, label="Accelerators")
        raise UsageError(f"Unknown accelerator {wanted!r}.", hint=known)
    if name in table.retired:
        old = table.retired[name]
        raise UsageError(
            f"{name} ({old.hardware}) is retired ({table.as_of}): such a session silently runs on"
            f" {old.runs_on or 'a CPU'}.",
            hint=_replacement(old.runs_on, asked),
        )
    return name


def _of_hardware(gpu: str, table: Accelerators) -> str:
    for name, hardware in (*table.offered.items(), *((name, one.hardware) for name, one in table.retired.items())):
        if hardware == gpu:
            return name
    has = f"has {gpu}, which Kaggle does not offer" if gpu else "has no GPU, but the submission declares one"
    raise UsageError(f"The runtime profile {has}.", hint=f"For example: --profile {GPU_PROFILE}")


def _replacement(name: str, asked: str) -> str:
    if not name:
        return "Leave the accelerator out, or choose another: --accelerator NvidiaTeslaT4"
    return f"Ask for it: --accelerator {name}" if asked else f"Use today's machine: --profile {GPU_PROFILE}"
