"""What a download has noted, for whoever verifies the data later."""

from pathlib import Path

from dfdc_kit.data.download.manifest import Manifest
from dfdc_kit.data.verify.wholeness import ExpectedFile


def expected_files(folder: Path) -> dict[Path, ExpectedFile]:
    """The files that were downloaded into `folder`, or through the folder above it, by absolute path, with their size.

    Their digests are compared by `dfdc download` itself.
    """
    here = folder.resolve()
    found = {}
    for root in (here.parent, here):
        for entry in Manifest(root).entries.values():
            path = root / entry.name
            if not entry.files and path.is_relative_to(here):
                found[path] = ExpectedFile(size_bytes=entry.size_bytes)
    return found
