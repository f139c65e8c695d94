"""What is to be handed in: the code, the hosted machine it asks for, and the parcel that is sent."""

import re

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.errors import SubmissionFault, UsageFault
from dfdc_kit.handin.checks import faults_of_the_parcel
from dfdc_kit.handin.hosts.accelerators import CPU_PROFILE, GPU_PROFILE, choose
from dfdc_kit.handin.parcel import FILES, MOST_CHARACTERS, Parcel, parcel
from dfdc_kit.harness.rehearsal.rehearse import RehearsalRequest
from dfdc_kit.harness.request import RunRequest
from dfdc_kit.profiles import Profile
from dfdc_kit.profiles import load as load_profile
from dfdc_kit.submission.code import CodeSubmission
from dfdc_kit.submission.packages import distributions

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be handed in, and how."""

    submission: CodeSubmission
    challenge: Challenge
    profile_name: str
    profile: Profile
    parcel: Parcel
    message: str = ""


def order(
    submission: CodeSubmission,
    challenge: Challenge,
    *,
    profile_name: str = "",
    accelerator: str = "",
    slug: str = "",
    message: str = "",
) -> Order:
    """Put together what is to be sent. Raises UsageFault or SubmissionFault, all faults of the code at once.

    Without `profile_name`, today's machine: with a GPU if the submission declares one.
    """
    gpu = submission.settings.gpu
    profile_name = profile_name or (GPU_PROFILE if gpu or accelerator else CPU_PROFILE)
    profile = load_profile(profile_name)
    _check_slug(slug)
    chosen = choose(accelerator, profile, gpu=gpu)
    one = parcel(submission, challenge.slug, chosen, slug)
    faults = faults_of_the_parcel(submission, one, profile)
    if faults:
        raise SubmissionFault(
            f"{submission.name} cannot be handed in as it is: {'; '.join(faults)}.",
            hint="What the manifest must say: docs/how-to/run-your-own-submission.md",
        )
    return Order(
        submission=submission,
        challenge=challenge,
        profile_name=profile_name,
        profile=profile,
        parcel=one,
        message=message,
    )


def doubts(wanted: Order) -> list[str]:
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


def run_request(wanted: Order, dataset: Dataset) -> RunRequest:
    """A run of it here, held to the limits of the hosted machine."""
    return RunRequest(
        submission=wanted.submission,
        dataset=dataset,
        challenge=wanted.challenge,
        profile_name=wanted.profile_name,
        profile=wanted.profile,
    )


def rehearsal_request(wanted: Order, dataset: Dataset) -> RehearsalRequest:
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
        raise UsageFault(
            f"{slug!r} cannot be a name at Kaggle: expected a-z, 0-9 and - within, 5 to {most} characters.",
            hint="For example: --slug dfdc-my-detector",
        )
