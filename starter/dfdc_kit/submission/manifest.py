"""The external-data manifest: what a submission brings from others must be listed, public, and small enough."""

from dfdc_kit.profiles import Profile
from dfdc_kit.submission.code import CodeSubmission

OWN_SUFFIXES = {".py", ".ipynb", ".toml", ".md", ".txt", ".cfg", ".yaml", ".yml", ".png"}  # code and words about it
SMALL_BYTES = 1 << 20  # a table of the submission's own, such as a fitted linear model
MIB = 1 << 20


def manifest_faults(submission: CodeSubmission, profile: Profile) -> list[str]:
    """What the manifest of `submission` lacks, in sentences; empty if it is in order.

    Rule (competition rules, external data): pre-trained models and other data that do not come from the challenge are
    public, and at most `profile.external_data_bytes` in all. A file of the folder is listed by its path as `name`.
    """
    listed = submission.settings.external_data
    faults = [
        f"external data {entry.name!r} has no {field}"
        for entry in listed
        for field in ("licence", "url")
        if not getattr(entry, field).strip()
    ]
    sizes = {file.relative_to(submission.folder).as_posix(): file.stat().st_size for file in submission.files()}
    names = {entry.name for entry in listed}
    for name, size_bytes in sizes.items():
        if size_bytes > SMALL_BYTES and name not in names and f".{name.rpartition('.')[2]}" not in OWN_SUFFIXES:
            faults.append(
                f"{name} ({size_bytes / MIB:,.0f} MiB) is not listed; if it is your own work, say so as its url"
            )
    faults += [
        f"{entry.name} is {sizes[entry.name]} bytes, listed as {entry.size_bytes}"
        for entry in listed
        if sizes.get(entry.name, entry.size_bytes) != entry.size_bytes
    ]
    total_bytes = sum(entry.size_bytes for entry in listed)
    if profile.external_data_bytes is not None and not total_bytes <= profile.external_data_bytes:
        limit = f"{profile.external_data_bytes / MIB:,.0f} MiB"
        faults.append(f"external data takes {total_bytes / MIB:,.0f} MiB in all; the limit is {limit}")
    return faults
