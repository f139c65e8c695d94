"""Programs as competitors write them, each with its verdict and the sentence that explains it, in every backend.

tests/cases/code/<kind>/: a submission and expect.toml: verdict; text, a part of what `dfdc run` says; log, a part of
the end of the log; unmounted, the paths that are reported as not mounted; needs, packages without which the case is
skipped; [inputs], folders to attach.
"""

import shutil
import tomllib
from pathlib import Path

import pytest
from msgspec import structs

from dfdc_kit import challenge, profiles
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.harness.judge import rejudge
from dfdc_kit.harness.request import NullListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.sandbox import BACKENDS, choose
from dfdc_kit.submission.code import read_code_submission

CASES = sorted(path.parent for path in (Path(__file__).parents[1] / "cases" / "code").glob("*/expect.toml"))
IN_EVERY_BACKEND = {  # what the stage, the mounts and the network decide; the others only in the first, or -m slow
    "absolute-output-path",
    "attached-input-is-read-only",
    "calls-ffprobe",
    "data-set-not-attached",
    "file-in-a-subfolder",
    "looks-for-labels",
    "missing-data-set-swallowed",
    "missing-input-opened-outside-python",
    "module-in-an-attached-data-set",
    "needs-a-gpu",
    "notebook-shell-commands",
    "notebook-without-metadata",
    "paths-of-2026",
    "pip-installs-from-the-index",
    "relative-input-path",
    "repository-with-packages",
    "walks-the-input",
}
WORKING = [name for name in ("bubblewrap", "process") if not BACKENDS[name].unavailable()]


@pytest.mark.parametrize(
    ("case", "backend"),
    [
        pytest.param(
            case,
            backend,
            id=f"{case.name}-{backend}",
            marks=[pytest.mark.slow] * (backend != WORKING[0] and case.name not in IN_EVERY_BACKEND),
        )
        for case in CASES
        for backend in WORKING
    ],
)
def test_program_has_the_expected_verdict_and_explanation(case, backend, tmp_path, sample):
    expected = tomllib.loads((case / "expect.toml").read_text())
    for package in expected.get("needs", []):
        pytest.importorskip(package)
    inputs = expected.get("inputs", {})
    left_out = shutil.ignore_patterns("expect.toml", *inputs.values())
    folder = Path(shutil.copytree(case, tmp_path / case.name, ignore=left_out))
    attached = {slug: case / name for slug, name in inputs.items()}
    profile = profiles.load()
    request = RunRequest(
        submission=read_code_submission(folder, attached),
        dataset=find_dataset(sample, challenge.load()),
        challenge=challenge.load(),
        profile_name=profiles.DEFAULT,
        profile=structs.replace(profile, limits=structs.replace(profile.limits, wall_time_s=120.0)),
    )
    report = run(request, choose(backend, profile), tmp_path / "runs", NullListener())
    judgement, log = report.judgement, "\n".join(report.observation.last_output)
    assert judgement.verdict == expected["verdict"], f"{judgement}\n{log}"
    assert expected.get("text", "") in f"{judgement.why}\n{judgement.fix}"
    assert expected.get("log", "") in log
    assert report.observation.unmounted_inputs == expected.get("unmounted", [])
    assert rejudge(tmp_path / "runs" / report.run_id).differences == []
