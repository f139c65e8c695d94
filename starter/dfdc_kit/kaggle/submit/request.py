"""What is to be handed in: the code, the hosted machine it asks for, and the parcel that is sent."""

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
    """What is to be handed in, and how."""

    submission: CodeSubmission
    challenge: Challenge
    profile_name: str
    profile: Profile
    parcel: KernelBundle
    message: str = ""


def submit_request(
    submission: CodeSubmission,
    challenge: Challenge,
    *,
    profile_name: str = "",
    accelerator: str = "",
    slug: str = "",
    message: str = "",
) -> SubmitRequest:
    """Put together what is to be sent. Raises UsageError or SubmissionError, all faults of the code at once.

    Without `profile_name`, today's machine: with a GPU if the submission declares one.
    """
    gpu = submission.settings.gpu
    profile_name = profile_name or (GPU_PROFILE if gpu or accelerator else CPU_PROFILE)
    profile = load_profile(profile_name)
    _check_slug(slug)
    chosen = choose(accelerator, profile, gpu=gpu)
    one = kernel_bundle(submission, challenge.slug, chosen, slug)
    faults = bundle_errors(submission, one, profile)
    if faults:
        raise SubmissionError(
            f"{submission.name} cannot be handed in as it is: {'; '.join(faults)}.",
            hint="What the manifest must say: docs/how-to/run-your-own-submission.md",
        )
    return SubmitRequest(
        submission=submission,
        challenge=challenge,
        profile_name=profile_name,
        profile=profile,
        parcel=one,
        message=message,
    )


def warnings_of(wanted: SubmitRequest) -> list[str]:
    """What may go wrong at Kaggle and cannot be known here, in sentences."""
    image = load_profile(GPU_PROFILE).software.keys() | wanted.profile.software.keys()  # the image is today's
    known = {_project(name) for name in image}
    known |= {_project(path.name.split("-")[0]) for path in wanted.parcel.files if path.suffix == ".whl"}
    strange = [name for name in distributions(wanted.submission.settings.packages) if _project(name) not in known]
    if not strange:
        return []
    return [
        f"not known to be in Kaggle's image, where nothing can be downloaded: {', '.join(strange)};"
        " bring it along as a wheel in wheels/"
    ]


def run_request(wanted: SubmitRequest, dataset: Dataset) -> RunRequest:
    """A run of it here, held to the limits of the hosted machine."""
    return RunRequest(
        submission=wanted.submission,
        dataset=dataset,
        challenge=wanted.challenge,
        profile_name=wanted.profile_name,
        profile=wanted.profile,
    )


def rehearsal_request(wanted: SubmitRequest, dataset: Dataset) -> RehearsalRequest:
    """A full rehearsal of it, from the clips of `dataset`."""
    return RehearsalRequest(
        submission=wanted.submission,
        clips=dataset.videos,
        challenge=wanted.challenge,
        profile_name=wanted.profile_name,
        profile=wanted.profile,
    )


def _project(name: str) -> str:
    """A package's name as wheels and indexes agree on it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_slug(slug: str) -> None:
    most = MOST_CHARACTERS - len(FILES)
    if slug and (not 5 <= len(slug) <= most or set(slug) - set(ALPHABET) or slug.strip("-") != slug):
        raise UsageError(
            f"{slug!r} cannot be a name at Kaggle: expected a-z, 0-9 and - within, 5 to {most} characters.",
            hint="For example: --slug dfdc-my-detector",
        )


TABLE = Path(__file__).with_name("accelerators.toml")
CPU_PROFILE, GPU_PROFILE = "kaggle-today-cpu", "kaggle-today-gpu"


class Retired(Settings, frozen=True, kw_only=True):
    """An accelerator that cannot be had any more."""

    hardware: str
    runs_on: str  # what a session gets instead; empty: a CPU


class Accelerators(Settings, frozen=True, kw_only=True):
    """The table of names."""

    source: str
    as_of: str
    offered: dict[str, str]  # name -> hardware
    retired: dict[str, Retired]


def accelerators() -> Accelerators:
    """The names that Kaggle knows, and those it knew."""
    return read_toml(TABLE, Accelerators)


def choose(asked: str, profile: Profile, *, gpu: bool) -> str:
    """The name to ask for: `asked`, else that of the profile's hardware if the submission wants a GPU, else none.

    Raises UsageError for a retired one, naming its replacement, and for a name that is not known.
    """
    table = accelerators()
    if not asked and not gpu:
        return ""
    wanted = asked or _of_hardware(profile.hardware.gpu, table)
    names = {name.lower(): name for name in (*table.offered, *table.retired)}
    name = names.get(wanted.lower())
    if name is None:
        hint = suggest(wanted, table.offered, label="Accelerators")
        raise UsageError(f"There is no accelerator {wanted!r}.", hint=hint)
    if name in table.retired:
        gone = table.retired[name]
        raise UsageError(
            f"{name} ({gone.hardware}) is retired ({table.as_of}): a session that asks for it runs on"
            f" {gone.runs_on or 'a CPU'}, and nothing says so.",
            hint=_instead(gone.runs_on, asked),
        )
    return name


def _of_hardware(gpu: str, table: Accelerators) -> str:
    for name, hardware in (*table.offered.items(), *((name, one.hardware) for name, one in table.retired.items())):
        if hardware == gpu:
            return name
    seen = f"has {gpu}, which Kaggle does not offer" if gpu else "has no GPU, and the submission declares one"
    raise UsageError(f"The runtime profile {seen}.", hint=f"For example: --profile {GPU_PROFILE}")


def _instead(replacement: str, asked: str) -> str:
    if not replacement:
        return "Leave the accelerator out, or choose another: --accelerator NvidiaTeslaT4"
    return f"Ask for it: --accelerator {replacement}" if asked else f"Use today's machine: --profile {GPU_PROFILE}"
