"""The calls of a submission, made with Kaggle's own client."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from dfdc_kit.errors import KaggleError
from dfdc_kit.kaggle.client import Kaggle
from dfdc_kit.kaggle.submit.context import HostedRun, KaggleDataset, KaggleSubmission, PushedKernel, Quota

PAGE_SIZE = 100  # submissions; a team makes two a day
Answer = TypeVar("Answer")


class KaggleHost:
    """A `Host` on a signed-in client."""

    def __init__(self, kaggle: Kaggle) -> None:
        self._kaggle = kaggle

    def owner(self) -> str:
        """The account's name."""
        if not self._kaggle.user:
            raise KaggleError("Kaggle's client does not know the account's name.", reason="bad-credentials")
        return self._kaggle.user

    def quota(self, competition: str) -> Quota:
        """How many submissions are left."""
        seen = self._call(
            "asking how many submissions are left",
            lambda api: api.competition_get_submission_limits(competition),
            competition,
        )
        return Quota(today=seen.num_today, total=seen.num_total, left=seen.num_allowed_now)

    def dataset(self, ref: str) -> KaggleDataset | None:
        """The dataset owner/slug; None if there is none: Kaggle then answers "permission denied"."""
        try:
            return self._call(f"looking for the dataset {ref}", lambda api: _dataset(api, ref))
        except KaggleError as error:
            if error.reason in ("refused", "not-found"):
                return None
            raise

    def create_dataset(self, ref: str, folder: Path) -> None:
        """Upload the files of `folder` as a new private dataset."""
        self._upload(ref, lambda api: api.dataset_create_new(str(folder), quiet=True, dir_mode="zip"))

    def add_version(self, ref: str, folder: Path, notes: str) -> None:
        """Upload the files of `folder` as the next version of a dataset."""
        self._upload(ref, lambda api: api.dataset_create_version(str(folder), notes, quiet=True, dir_mode="zip"))

    def push(self, kernel: str, folder: Path, limit_s: int | None) -> PushedKernel:
        """Save the program in `folder` as the next version of the notebook, which Kaggle then runs."""
        limit = None if limit_s is None else str(limit_s)
        answer = self._call(
            f"pushing {kernel}", lambda api: api.kernels_push(str(folder), timeout=limit), repeatable=False
        )
        if answer.error or not answer.version_number:
            raise KaggleError(f"Kaggle rejects {kernel}: {answer.error or 'no reason given'}", reason="refused")
        kinds = ("dataset", "competition", "kernel", "model")
        invalid = {kind: list(getattr(answer, f"invalid_{kind}_sources") or []) for kind in kinds}
        problems = [f"the {kind} {name} cannot be attached" for kind, names in invalid.items() for name in names]
        return PushedKernel(version=answer.version_number, url=answer.url, problems=problems)

    def hosted_run(self, kernel: str, version: int) -> HostedRun:
        """The state of that version's run."""
        seen = self._call(f"asking for the status of {kernel}", lambda api: api.kernels_status(f"{kernel}/{version}"))
        return HostedRun(status=seen.status.name.lower(), failure=seen.failure_message or "")

    def log(self, kernel: str, version: int) -> str:
        """What that run has printed so far, as Kaggle serves it."""
        return str(self._call(f"reading the log of {kernel}", lambda api: api.kernels_logs(f"{kernel}/{version}")))

    def fetch_output(self, kernel: str, version: int, name: str, folder: Path) -> bool:
        """Fetch the run's output file `name` into `folder`; False if it has none."""
        pattern = f"^{re.escape(name)}$"
        files, _ = self._call(
            f"fetching {name} of {kernel}",
            lambda api: api.kernels_output(f"{kernel}/{version}", str(folder), file_pattern=pattern, force=True),
        )
        return any(Path(file).name == name for file in files)

    def submit(self, competition: str, kernel: str, version: int, name: str, description: str) -> str:
        """Submit an output file; Kaggle's number of the submission. Called once: a lost answer may mean success."""
        answer = self._call(
            f"submitting {name} of {kernel}, version {version}",
            lambda api: api.competition_submit_code(name, description, competition, kernel, version, quiet=True),
            competition,
            repeatable=False,
        )
        if not answer.ref:
            raise KaggleError(f"Kaggle rejects the submission: {answer.message or 'no reason given'}")
        return str(answer.ref)

    def submissions(self, competition: str) -> list[KaggleSubmission]:
        """The newest submissions of the team, newest first."""
        found = self._call(
            "listing the submissions",
            lambda api: api.competition_submissions(competition, page_size=PAGE_SIZE),
            competition,
        )
        return [_submission(one) for one in found or []]

    def _upload(self, ref: str, function: Callable[[Any], Any]) -> None:
        answer = self._call(f"uploading the dataset {ref}", function)
        if answer.error or str(answer.status).lower() == "error":
            raise KaggleError(f"Kaggle rejects the dataset {ref}: {answer.error or 'no reason given'}")

    def _call(
        self, doing: str, function: Callable[[Any], Answer], competition: str = "", *, repeatable: bool = True
    ) -> Answer:
        hint = "Check the names on www.kaggle.com; an ended competition may not accept submissions."
        return self._kaggle.call(doing, function, slug=competition, repeatable=repeatable, not_found=hint)


def _dataset(api: Any, ref: str) -> KaggleDataset:
    """Version and status of a dataset, by two calls."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

    request = ApiGetDatasetRequest()
    request.owner_slug, request.dataset_slug = ref.split("/")
    with api.build_kaggle_client() as client:
        version = client.datasets.dataset_api_client.get_dataset(request).current_version_number
    return KaggleDataset(version=version, status=api.dataset_status(ref))


def _submission(one: Any) -> KaggleSubmission:
    return KaggleSubmission(
        reference=str(one.ref),
        description=one.description or "",
        status=one.status.name.lower(),
        public_score=_number(one.public_score),
        private_score=_number(one.private_score),
        error=one.error_description or "",
    )


def _number(text: str | None) -> float | None:
    """A score as Kaggle writes it; None if it shows none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None
