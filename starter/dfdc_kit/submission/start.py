"""Start a code submission: a copy of the template or of a bundled baseline, under a name of its own."""

import json
import re
import shutil
from pathlib import Path

from dfdc_kit.errors import OutputFault, UsageFault
from dfdc_kit.resources import PACKAGE, bundled
from dfdc_kit.submission.code import SETTINGS_FILE, CodeSubmission, read_code_submission

TEMPLATE = PACKAGE / "templates" / "submission"
NOT_COPIED = {"expected.json"}  # what a baseline must predict says nothing about its copy


def baselines() -> dict[str, CodeSubmission]:
    """The bundled baselines by name: every folder of `baselines/` that holds a submission.toml."""
    found = sorted(path.parent for path in bundled("baselines").glob(f"*/{SETTINGS_FILE}"))
    return {folder.name: read_code_submission(folder) for folder in found}


def start(folder: Path, baseline: str = "") -> list[str]:
    """Copy the template, or the named baseline, to the new folder `folder`; the names of the files written.

    Raises UsageFault if `folder` is there already or `baseline` is unknown, OutputFault if it cannot be written.
    """
    if folder.exists():
        raise UsageFault(f"{folder} is there already; nothing was changed.", hint="Choose another name.")
    known = baselines() if baseline else {}
    if baseline and baseline not in known:
        raise UsageFault(f"There is no baseline {baseline!r}.", hint=f"Baselines: {', '.join(known)}")
    source = known[baseline] if baseline else read_code_submission(TEMPLATE)
    files = [file.relative_to(source.folder) for file in source.files() if file.name not in NOT_COPIED]
    part = folder.with_name(f".{folder.name}.part")
    try:
        for file in files:
            (part / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.folder / file, part / file)
        settings = part / SETTINGS_FILE
        name = f"name = {json.dumps(folder.name, ensure_ascii=False)}"  # TOML's strings have JSON's escapes
        named = re.sub(r'(?m)^name = ".*"$', lambda _: name, settings.read_text("utf-8"), count=1)
        settings.write_text(named, "utf-8")
        part.rename(folder)
    except OSError as error:
        raise OutputFault(
            f"Cannot write {folder}: {error.strerror}.", hint="Choose a folder that can be written and has room."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [str(file) for file in files]
