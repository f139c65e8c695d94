"""The checks before anything is sent: the bundle, the accelerator, a run and a rehearsal of exactly this code."""

import json
import tarfile

import msgspec
import pytest
from msgspec import structs

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.errors import SandboxError, SubmissionError, UsageError
from dfdc_kit.harness.rehearsal import record
from dfdc_kit.harness.rehearsal.hard_inputs import HARD_INPUTS
from dfdc_kit.kaggle.submit.bundle import ARCHIVE, default_slug, kernel_bundle, pack
from dfdc_kit.kaggle.submit.checks import (
    RehearsalPolicy,
    bundle_errors,
    check_code,
    fresh_rehearsal,
    fresh_run,
    run_warnings,
)
from dfdc_kit.kaggle.submit.context import log_text
from dfdc_kit.kaggle.submit.dry_run import dry_run
from dfdc_kit.kaggle.submit.request import accelerators, choose_accelerator, request_warnings, submit_request
from dfdc_kit.report.run_report import MemoryGrowth
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.submission.code import baselines, read_code_submission

GPU, CPU = profiles.load("kaggle-today-gpu"), profiles.load("kaggle-today-cpu")
SLUG = "deepfake-detection-challenge"
CHALLENGE = challenges.load()


def sent(folder, **options):
    return kernel_bundle(read_code_submission(folder), SLUG, options.get("accelerator", ""))


# ------------------------------------------------------------------------------------------------------------- bundle


def test_all_files_are_sent_in_one_archive(code_submission, tmp_path):
    folder = code_submission("pass")
    for name in ("weights/a.onnx", "labels.csv", "README.md", "expected.json", "runs/x/log.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    one = sent(folder)
    names = [path.relative_to(folder).as_posix() for path in one.files]
    assert names == ["README.md", "expected.json", "labels.csv", "main.py", "submission.toml", "weights/a.onnx"]
    kernel, dataset = pack(one, "ada", tmp_path / "out")
    assert sorted(path.name for path in kernel.iterdir()) == ["hosted_main.py", "kernel-metadata.json"]
    assert dataset is not None
    with tarfile.open(dataset / ARCHIVE) as archive:
        assert sorted(archive.getnames()) == [f"submission/{name}" for name in names]
    meant = json.loads((dataset / "dataset-metadata.json").read_text())
    assert (meant["id"], meant["title"]) == ("ada/dfdc-trial-files", "dfdc-trial-files")
    (folder / "labels.csv").write_text("y")
    assert sent(folder).files_sha256 != one.files_sha256


def test_notebook_without_other_files_has_no_dataset(tmp_path):
    (tmp_path / "main.ipynb").write_text('{"cells": []}')
    one = sent(tmp_path / "main.ipynb")
    assert (one.dataset_slug, one.files_sha256) == ("", "")
    assert pack(one, "ada", tmp_path / "out")[1] is None
    meant = one.kernel_metadata("ada")
    assert (meant["dataset_sources"], meant["kernel_type"], meant["code_file"]) == ([], "notebook", "main.ipynb")


def test_single_file_is_bundled(tmp_path):
    (tmp_path / "solo.py").write_text("pass")
    (tmp_path / "other.bin").write_text("not its own")
    one = sent(tmp_path / "solo.py")
    assert (one.slug, [file.name for file in one.files]) == ("dfdc-solo", ["solo.py"])


@pytest.mark.parametrize("name", sorted(baselines()))
def test_every_baseline_can_be_submitted(name):
    assert submit_request(baselines()[name], challenges.load()).bundle.slug == f"dfdc-{name}"


def test_kernel_metadata_disables_internet_for_every_accelerator(code_submission):
    for accelerator in ("", *accelerators().offered):
        meant = sent(code_submission("pass", f"t{accelerator}"), accelerator=accelerator).kernel_metadata("ada")
        assert meant["enable_internet"] is False
        assert meant["enable_gpu"] is accelerator.startswith("Nvidia")
        assert meant["enable_tpu"] is accelerator.startswith("Tpu")
        assert meant.get("machine_shape", "") == accelerator


@pytest.mark.parametrize("name", ["a", "My Detector v2", "x" * 80, "名侦探", "frame-stats", "a_b", "a-b", "A.b"])
def test_default_slug_is_valid_at_kaggle(name):
    from slugify import slugify

    slug = default_slug(name)
    assert slugify(slug) == slug  # a title that gives another slug would make another notebook
    assert 5 <= len(slug) <= 44


def test_default_slugs_of_similar_names_differ():
    names = ["a_b", "a-b", "a.b", "a b", "名侦探", "柯西", "x" * 80, "x" * 81]
    assert len({default_slug(name) for name in names}) == len(names)


def test_submit_request_reports_all_problems_at_once(code_submission):
    folder = code_submission("pass")
    (folder / "weights.pth").write_bytes(b"x" * (2 << 20))
    (folder / "submission.toml").write_text(
        'name = "x"\n[[external_data]]\nname = "a"\nsize_bytes = 1\nlicence = ""\nurl = "u"\n'
    )
    with pytest.raises(SubmissionError, match=r"'a' has no licence; weights.pth \(2.0 MiB\) is not listed"):
        submit_request(read_code_submission(folder), challenges.load())


def test_bundle_larger_than_the_limit_is_an_error(code_submission):
    folder = code_submission("pass")
    (folder / "own.txt").write_bytes(b"x" * (2 << 20))
    tight = structs.replace(CPU, external_data_bytes=1 << 20)
    (fault,) = bundle_errors(read_code_submission(folder), sent(folder), tight)
    assert "2 MiB in all; the limit is 1 MiB" in fault


def test_request_warnings_name_packages_unknown_to_kaggle(code_submission):
    folder = code_submission("pass")
    (folder / "submission.toml").write_text('name = "x"\npackages = ["numpy>=1.20", "insightface>=0.7"]\n')
    (doubt,) = request_warnings(submit_request(read_code_submission(folder), challenges.load()))
    assert "downloaded: insightface; add it as a wheel in wheels/" in doubt


@pytest.mark.parametrize("slug", ["Mine", "a b", "abcd", "-mine-", "x" * 45, "a/b"])
def test_invalid_slug_is_refused(code_submission, slug):
    with pytest.raises(UsageError, match="is not a valid slug"):
        submit_request(read_code_submission(code_submission("pass")), challenges.load(), slug=slug)


# -------------------------------------------------------------------------------------------------------- accelerator


def test_accelerator_follows_option_profile_and_declaration():
    assert choose_accelerator("", GPU, gpu=False) == ""
    assert choose_accelerator("", GPU, gpu=True) == "NvidiaTeslaT4"
    assert choose_accelerator("nvidial4x1", CPU, gpu=False) == "NvidiaL4X1"


@pytest.mark.parametrize(
    ("asked", "profile", "seen", "hint"),
    [
        ("NvidiaTeslaP100", "kaggle-today-gpu", "retired", "--accelerator NvidiaTeslaT4"),
        ("", "kaggle-2020-gpu", "NvidiaTeslaP100 (Tesla P100) is retired", "--profile kaggle-today-gpu"),
        ("tpuv38", "kaggle-today-gpu", "runs on TpuV5E8", "--accelerator TpuV5E8"),
        ("TpuV232", "kaggle-today-gpu", "runs on a CPU", "--accelerator NvidiaTeslaT4"),
        ("NvidiaTeslaT5", "kaggle-today-gpu", "Unknown accelerator 'NvidiaTeslaT5'", "NvidiaTeslaT4"),
        ("", "kaggle-today-cpu", "has no GPU", "--profile kaggle-today-gpu"),
    ],
)
def test_unavailable_accelerator_hint_names_an_available_one(asked, profile, seen, hint):
    with pytest.raises(UsageError) as caught:
        choose_accelerator(asked, profiles.load(profile), gpu=True)
    assert seen in str(caught.value)
    assert hint in caught.value.hint


def test_retired_accelerators_match_the_client(kaggle_server):
    from kaggle.api import kaggle_api_extended as client

    theirs = getattr(client, "_RETIRED_ACCELERATORS", None)
    if theirs is None:
        pytest.skip("a client before 2.2.5 has no such table")
    known = {name.lower(): one for name, one in accelerators().retired.items()}
    assert known.keys() == theirs.keys()
    for name, said in theirs.items():
        assert (known[name].runs_on or "CPU") in said


# ------------------------------------------------------------------------------------------------- run and rehearsal


def rehearsed(runs, sha256: str, name: str, outcome: str = "passed", left_out=0) -> None:
    findings = [
        record.RehearsalFinding(
            code=hard.code,
            title="",
            outcome=record.InputOutcome.PREDICTION,
            severity=record.RehearsalSeverity.OK,
        )
        for hard in HARD_INPUTS[left_out:]
    ]
    report = record.RehearsalReport(
        **dict.fromkeys(("kit_version", "started", "submission", "submission_folder", "profile_name", "backend"), "x"),
        rehearsal_id=name,
        submission_sha256=sha256,
        seed=0,
        outcome=outcome,
        findings=findings,
        comparisons=[],
        left_out={},
        steps=[],
    )
    (runs / name).mkdir(parents=True)
    record.save(report, runs / name)


def test_fresh_rehearsal_is_the_newest_full_one_of_the_same_code(tmp_path):
    assert fresh_rehearsal(tmp_path, "mine") is None
    rehearsed(tmp_path, "mine", "1-old", "failed")
    rehearsed(tmp_path, "mine", "2-new")
    rehearsed(tmp_path, "mine", "3-interrupted", "interrupted")
    rehearsed(tmp_path, "mine", "4-only-some", left_out=1)
    rehearsed(tmp_path, "other", "5-other-code")
    (tmp_path / "6-broken").mkdir()
    (tmp_path / "6-broken" / record.FILE).write_text("{")
    found = fresh_rehearsal(tmp_path, "mine")
    assert found is not None
    assert found.rehearsal_id == "2-new"


@pytest.fixture
def ran(dfdc, code_submission, tmp_path):
    """A submission with a complete run; its folder, and its digest."""
    folder = code_submission(
        "import os, pathlib\n"
        "text = pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'sample_submission.csv').read_text()\n"
        "pathlib.Path('submission.csv').write_text(text.replace(',0', ',0.5'))"
    )
    assert dfdc("run", folder, "--quiet").returncode == 0
    return folder, read_code_submission(folder).sha256()


def unwanted():
    raise AssertionError("not to be run")


def test_check_code_needs_a_run_and_a_rehearsal_of_the_same_code(ran, tmp_path):
    folder, sha256 = ran
    runs = tmp_path / "runs"

    def check(rehearsing, rehearse_now=unwanted):
        submission = read_code_submission(folder)
        return check_code(submission, challenges.load(), runs, rehearsing, unwanted, rehearse_now)

    assert check(RehearsalPolicy.SKIP).rehearsal == "skipped"
    with pytest.raises(SubmissionError, match="has not been rehearsed") as caught:
        check(RehearsalPolicy.REQUIRE)
    assert "--rehearse" in caught.value.hint

    def rehearse_now():
        rehearsed(runs, sha256, "1-now")
        return fresh_rehearsal(runs, sha256)

    assert check(RehearsalPolicy.NOW, rehearse_now).rehearsal == "1-now"
    assert check(RehearsalPolicy.REQUIRE).rehearsal == "1-now"
    rehearsed(runs, sha256, "2-worse", "failed")
    with pytest.raises(SubmissionError, match="rehearsal 2-worse failed"):
        check(RehearsalPolicy.NOW)
    (folder / "main.py").write_text("changed = True")
    with pytest.raises(AssertionError, match="not to be run"):  # no run of the changed code: one would be made
        check(RehearsalPolicy.SKIP)


@pytest.mark.parametrize(
    ("verdict", "raised"),
    [
        (Verdict.INTERRUPTED, KeyboardInterrupt),
        (Verdict.HARNESS_ERROR, SandboxError),
        (Verdict.TIMEOUT, SubmissionError),
    ],
)
def test_check_code_raises_by_the_verdict_of_the_run(ran, tmp_path, verdict, raised):
    folder, sha256 = ran
    run = fresh_run(tmp_path / "runs", sha256)
    assert run is not None
    bad = structs.replace(run, judgement=structs.replace(run.judgement, verdict=verdict, why="so it was"))
    submission = read_code_submission(folder)
    (folder / "main.py").write_text("changed = True")
    with pytest.raises(raised):
        check_code(submission, challenges.load(), tmp_path / "runs", RehearsalPolicy.SKIP, lambda: bad, unwanted)


@pytest.mark.parametrize("reason", ["", "no GPU"])
def test_check_code_accepts_code_that_cannot_run_here_only_with_a_reason(ran, tmp_path, reason):
    folder, sha256 = ran
    run = fresh_run(tmp_path / "runs", sha256)
    assert run is not None
    untested = structs.replace(
        run, judgement=structs.replace(run.judgement, verdict=Verdict.NOT_REPRODUCIBLE, why="no card here")
    )
    (folder / "main.py").write_text("changed = True")
    submission = read_code_submission(folder)

    def check():
        runs, policy = tmp_path / "runs", RehearsalPolicy.REQUIRE
        return check_code(submission, CHALLENGE, runs, policy, lambda: untested, unwanted, untested_here=reason)

    if reason:
        assert check().rehearsal == "skipped"
        return
    with pytest.raises(SandboxError, match="not-reproducible: no card here") as caught:
        check()
    assert "--untested-here REASON" in caught.value.hint


def test_untested_here_does_not_excuse_code_that_failed(ran, tmp_path):
    folder, sha256 = ran
    run = fresh_run(tmp_path / "runs", sha256)
    assert run is not None
    failed = structs.replace(run, judgement=structs.replace(run.judgement, verdict=Verdict.EXCEPTION))
    (folder / "main.py").write_text("changed = True")
    arguments = (read_code_submission(folder), CHALLENGE, tmp_path / "runs", RehearsalPolicy.SKIP)
    with pytest.raises(SubmissionError):
        check_code(*arguments, lambda: failed, unwanted, untested_here="no GPU")


def test_dry_run_gives_the_refusal_of_a_failed_rehearsal(ran, tmp_path):
    folder, sha256 = ran
    request = submit_request(read_code_submission(folder), CHALLENGE)

    def refusal(policy=RehearsalPolicy.REQUIRE):
        return dry_run(request, tmp_path / "runs", policy).refusal

    assert "has not been rehearsed" in refusal()
    assert (refusal(RehearsalPolicy.SKIP), refusal(RehearsalPolicy.NOW)) == ("", "")
    rehearsed(tmp_path / "runs", sha256, "1-bad", "failed")
    assert refusal(RehearsalPolicy.NOW) == refusal()
    assert refusal(RehearsalPolicy.SKIP) == ""
    with pytest.raises(SubmissionError) as caught:
        check_code(request.submission, CHALLENGE, tmp_path / "runs", RehearsalPolicy.REQUIRE, unwanted, unwanted)
    assert refusal() == f"{caught.value} {caught.value.hint}"
    rehearsed(tmp_path / "runs", sha256, "2-good")
    assert refusal() == ""


def test_interrupted_rehearsal_stops_submit(ran, tmp_path):
    folder, sha256 = ran

    def stopped():
        rehearsed(tmp_path, sha256, "1-stopped", "interrupted")
        return msgspec.json.decode((tmp_path / "1-stopped" / record.FILE).read_bytes(), type=record.RehearsalReport)

    submission = read_code_submission(folder)
    with pytest.raises(KeyboardInterrupt):
        check_code(submission, challenges.load(), tmp_path / "runs", RehearsalPolicy.NOW, unwanted, stopped)


def test_run_warnings_report_time_and_memory(ran, tmp_path):
    run = fresh_run(tmp_path / "runs", ran[1])
    assert run is not None
    assert run_warnings(run) == []
    assert run.forecast is not None
    public, private = run.forecast.outlooks
    slow = structs.replace(private, local_verdict="does not fit", hosted=None)
    growth = MemoryGrowth(videos=16, last_bytes=0, slope_bytes=3 << 20, low_bytes=2 << 20, high_bytes=4 << 20)
    forecast = structs.replace(run.forecast, outlooks=[public, slow])
    late, leak = run_warnings(structs.replace(run, forecast=forecast, memory_growth=growth))
    assert late.startswith("the private test may not finish in time: 10,000 videos take")
    assert leak == "memory grows by at least 2.00 MiB a video"


def test_run_with_a_changed_csv_does_not_count(ran, tmp_path):
    _, sha256 = ran
    run = fresh_run(tmp_path / "runs", sha256)
    assert run is not None
    assert fresh_run(tmp_path / "runs", "other") is None
    csv = tmp_path / "runs" / run.run_id / "submission.csv"
    csv.write_text(csv.read_text().replace("0.5", "0.6"))
    assert fresh_run(tmp_path / "runs", sha256) is None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('[{"stream_name":"stdout","time":1,"data":"a\\n"},{"stream_name":"stderr","time":2,"data":"b"}]', "a\nb"),
        ("plain\ntext", "plain\ntext"),
        ("", ""),
    ],
)
def test_log_text_joins_the_lines(raw, text):
    assert log_text(raw) == text
