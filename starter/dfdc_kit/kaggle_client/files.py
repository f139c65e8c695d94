"""A competition's files: their list, and signed links to them."""

from typing import Any

import msgspec

from dfdc_kit.kaggle_client.client import Kaggle

PAGE = 200  # files; the most that Kaggle gives


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a competition: its name with folders, and its size where Kaggle says it."""

    name: str
    size_bytes: int


def list_files(kaggle: Kaggle, slug: str) -> list[RemoteFile]:
    """All files of the competition, page after page, sorted by name. Raises KaggleFault."""
    found: dict[str, RemoteFile] = {}
    token = ""
    while True:
        page = kaggle.call("listing the files", lambda api: api.competition_list_files(slug, token, PAGE), slug=slug)  # noqa: B023
        for file in page.files:
            found[file.name] = RemoteFile(name=file.name, size_bytes=file.total_bytes)
        if not page.next_page_token or page.next_page_token == token:
            return sorted(found.values(), key=lambda file: file.name)
        token = page.next_page_token


def file_link(kaggle: Kaggle, slug: str, name: str) -> str:
    """A signed link to one file; it ends in `<name>.zip` where Kaggle packs it. Raises KaggleFault."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFileRequest

    request = ApiDownloadDataFileRequest()
    request.competition_name, request.file_name = slug, name
    return _asked(kaggle, slug, f"asking for {name}", lambda calls: calls.download_data_file(request))


def bundle_link(kaggle: Kaggle, slug: str) -> str:
    """A signed link to the archive of all files. Raises KaggleFault."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    request = ApiDownloadDataFilesRequest()
    request.competition_name = slug
    return _asked(kaggle, slug, "asking for the archive", lambda calls: calls.download_data_files(request))


def _asked(kaggle: Kaggle, slug: str, doing: str, ask: Any) -> str:
    hint = (
        "Ended competitions do not serve every file this way. "
        f"Fetch it at https://www.kaggle.com/competitions/{slug}/data in a browser, then: dfdc data add FILE.zip"
    )
    return kaggle.call(doing, lambda api: _link(api, ask), slug=slug, not_found=hint)


def _link(api: Any, ask: Any) -> str:
    """Where the client is sent. It has begun to read there; that is closed, the bytes are fetched by our own engine."""
    with api.build_kaggle_client() as client:
        response = ask(client.competitions.competition_api_client)
        response.close()
        return str(response.url)
