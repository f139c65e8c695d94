"""`dfdc download inputs`: what a submission attaches on Kaggle (datasets, outputs of notebooks, models)."""

import shutil
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import OutputError, SubmissionError
from dfdc_kit.kaggle.client import Kaggle
from dfdc_kit.kaggle.download.fetch import FetchRequest, Transport
from dfdc_kit.kaggle.download.ingest import fetch_and_ingest, unpack_with_progress
from dfdc_kit.submission.code import CodeSubmission
from dfdc_kit.submission.external_data import AttachedInput, downloaded_input, folder_bytes

NOT_FOUND = "Check the slug; a private one must be yours or shared with you."


class DownloadedInput(msgspec.Struct, frozen=True, kw_only=True):
    """An attached input that is on this machine."""

    slug: str
    kind: str
    folder: Path
    size_bytes: int
    fetched: bool  # now; else it was here already


def download_inputs(kaggle: Kaggle, submission: CodeSubmission, transport: Transport) -> list[DownloadedInput]:
    """Download every attached input that is not on this machine yet, complete or not at all.

    To its `path`, else to the cache, where `dfdc run` finds it. Raises SubmissionError for a slug without owner,
    KaggleError, OutputError, DataError.
    """
    inputs = submission.settings.inputs
    if ownerless := [one.slug for one in inputs if "/" not in one.slug]:
        message = f"Inputs without an owner cannot be downloaded: {', '.join(ownerless)}."
        raise SubmissionError(message, hint="Write owner/name in submission.toml, as in the address on Kaggle.")
    return [_download(kaggle, submission, one, transport) for one in inputs]


def _download(
    kaggle: Kaggle, submission: CodeSubmission, attached: AttachedInput, transport: Transport
) -> DownloadedInput:
    found = attached.folder(submission.folder)
    target = found or (
        submission.folder / Path(attached.path).expanduser() if attached.path else downloaded_input(attached)
    )
    if found is None:
        part = target.with_name(f".{target.name}.part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            if attached.kind == "dataset":
                _fetch_dataset(kaggle, attached.slug, part, transport)
            elif attached.kind == "notebook":
                _fetch_outputs(kaggle, attached.slug, part)
            else:
                _fetch_model(kaggle, attached.slug, part)
            part.replace(target)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            hint = "Free some space, or set XDG_CACHE_HOME to another folder."
            raise OutputError(f"Cannot write {target}: {error.strerror}.", hint=hint) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return DownloadedInput(
        slug=attached.slug,
        kind=attached.kind,
        folder=target,
        size_bytes=folder_bytes(target),
        fetched=found is None,
    )


def _fetch_dataset(kaggle: Kaggle, slug: str, folder: Path, transport: Transport) -> None:
    """By our own `fetch`: resumed, and compared with the published digest."""
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    def link() -> str:
        request = ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug = slug.split("/")

        def redirect(api: Any) -> str:
            with api.build_kaggle_client() as client:
                response = client.datasets.dataset_api_client.download_dataset(request)
                response.close()
                return str(response.url)

        return kaggle.call(f"asking for the dataset {slug}", redirect, not_found=NOT_FOUND)

    archive = folder.with_name(f"{folder.name}.zip")
    request = FetchRequest(name=slug, path=archive, link=link)
    fetch_and_ingest(request, transport, lambda _: unpack_with_progress(archive, folder, transport.progress, slug))
    archive.unlink()


def _fetch_outputs(kaggle: Kaggle, slug: str, folder: Path) -> None:
    """The output files of a notebook's latest run, page after page."""
    token: str | None = None
    while True:
        _, token = kaggle.call(
            f"fetching the output of {slug}",
            lambda api: api.kernels_output(slug, str(folder), force=True, quiet=True, page_token=token),  # noqa: B023
            not_found=NOT_FOUND,
        )
        if not token:
            break
    (folder / f"{slug.partition('/')[2]}.log").unlink(missing_ok=True)  # the client's; Kaggle does not mount it


def _fetch_model(kaggle: Kaggle, slug: str, folder: Path) -> None:
    """A version of a model: owner/model/framework/variation/version."""
    kaggle.call(
        f"fetching the model {slug}",
        lambda api: api.model_instance_version_download(slug, str(folder), force=True, quiet=True, untar=True),
        not_found=NOT_FOUND,
    )
