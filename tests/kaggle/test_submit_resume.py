"""`submit_code` with Kaggle's own client against a fake Kaggle: every step, every interruption, one submission."""

import errno
import fcntl
import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.errors import KaggleError, KitError, SubmissionError, UsageError
from dfdc_kit.harness.request import NullListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.kaggle.client import connect
from dfdc_kit.kaggle.submit.attempt import RENAMED_1, attempts
from dfdc_kit.kaggle.submit.bundle import kernel_bundle, pack
from dfdc_kit.kaggle.submit.checks import RehearsalPolicy
from dfdc_kit.kaggle.submit.dry_run import dry_run
from dfdc_kit.kaggle.submit.kaggle_host import KaggleHost
from dfdc_kit.kaggle.submit.request import submit_request
from dfdc_kit.kaggle.submit.submit import submit_lock
from dfdc_kit.report import history
from dfdc_kit.report.history import Kind
from dfdc_kit.sandbox import choose
from dfdc_kit.submission.code import read_code_submission
from fake_kaggle import KEY, TOKEN
from submit_worker import Listener, submit_at_once, work

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = b"filename,label\naaa.mp4,0.5\nbbb.mp4,0.25\n"
REQUESTS = 21  # of a complete submission, as below
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["submit_worker", "kaggle"])


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory) -> Path:
    """A submission with a file beside its program, and the runs folder of a complete run of it."""
    base = tmp_path_factory.mktemp("finished")
    shutil.copytree(ROOT / "baselines" / "constant", base / "mine")
    (base / "mine" / "weights").mkdir()
    (base / "mine" / "weights" / "model.json").write_text("{}")
    challenge = challenges.load()
    request = RunRequest(
        submission=read_code_submission(base / "mine"),
        dataset=find_dataset(ROOT / "sample_data", challenge),
        challenge=challenge,
        profile_name="kaggle-today-cpu",
        profile=profiles.load("kaggle-today-cpu"),
    )
    run(request, choose(), base / "runs", NullListener(), lambda text: pytest.fail(text))
    return base


@pytest.fixture
def place(finished_run, tmp_path, kaggle_server) -> Path:
    """A fresh copy of it, and a Kaggle whose hosted runs leave a valid file."""
    kaggle_server.world.kernel_outputs = {"submission.csv": OUTPUT}
    for name in ("mine", "runs"):
        shutil.copytree(finished_run / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def submitted(place):
    """Submit the code in `place`; the attempt."""

    def call(listener: Listener | None = None, **options):
        return submit_at_once(place / "mine", place / "runs", listener or Listener(), **options)

    return call


def names(server, skip: tuple[str, ...] = ()) -> list[str]:
    calls = [seen.call or seen.method for seen in server.requests]
    return [call for at, call in enumerate(calls) if call not in skip and (at == 0 or calls[at - 1] != call)]


def test_submit_makes_every_call_from_quota_to_score(submitted, place, kaggle_server):
    listener = Listener()
    done = submitted(listener, message="larger crops")
    assert names(kaggle_server, ("ListKernelSessionOutput", "GetKernelSessionStatus")) == [
        "GetSubmissionLimits",
        "GetDataset",  # there is none
        "GetDatasetStatus",
        "StartBlobUpload",
        "PUT",
        "CreateDataset",
        "GetDataset",
        "GetDatasetStatus",
        "SaveKernel",
        "GET",  # the output
        "GetSubmissionLimits",
        "CreateCodeSubmission",
        "ListSubmissions",
    ]
    assert (done.outcome, done.official_score, done.output_rows) == ("complete", 0.5, 2)
    assert round(done.local_score, 5) == 0.69315
    (asked,) = listener.asked
    assert asked == (
        "0 made today, 2 left, failed ones count. Local score 0.69314. Submit constant (ada/dfdc-constant, version 1)?"
    )
    assert listener.printed == "done\n"
    (sent,) = kaggle_server.world.submissions
    assert sent["description"] == f"larger crops {done.marker}"
    sent, run = history.read(place / "runs")
    assert (sent.kind, sent.official_score, sent.reference) == (Kind.SUBMISSION, 0.5, "1000")
    assert (run.kind, run.official_score, run.local_score) == (Kind.RUN, 0.5, sent.local_score)


def test_pushed_kernel_has_code_dataset_and_limits(submitted, place, kaggle_server):
    submitted()
    (pushed,) = kaggle_server.world.kernels["ada/dfdc-constant"]
    assert pushed["text"].endswith(', ["main.py"])\n')
    assert f'main("{kaggle_server.world.slug}", "ada/dfdc-constant-files", {{' in pushed["text"]
    assert not pushed.get("enableInternet")  # the transport leaves out what is false
    assert not pushed.get("enableGpu")
    assert pushed["kernelType"] == "script"
    assert pushed["isPrivate"] is True
    assert pushed["datasetDataSources"] == ["ada/dfdc-constant-files"]
    assert pushed["competitionDataSources"] == [kaggle_server.world.slug]
    assert pushed["sessionTimeoutSeconds"] == 32400
    written = json.loads(
        (place / "runs" / attempts(place / "runs")[0].folder.name / "notebook/kernel-metadata.json").read_text()
    )
    assert written["enable_internet"] is False
    (version,) = kaggle_server.world.datasets["ada/dfdc-constant-files"]
    assert len(version["files"]) == 1
    uploaded = {json.loads(seen.body)["name"] for seen in kaggle_server.calls("StartBlobUpload")}
    assert uploaded == {"submission-files.bin"}


def test_push_requests_the_accelerator_by_name(submitted, place, kaggle_server):
    submitted(accelerator="nvidial4")
    (pushed,) = kaggle_server.world.kernels["ada/dfdc-constant"]
    assert (pushed["enableGpu"], pushed["machineShape"]) == (True, "NvidiaL4")


@pytest.mark.parametrize("at", range(REQUESTS + 1))
def test_submit_killed_at_any_request_resumes_and_submits_once(at, place, submitted, kaggle_server):
    """The request takes effect but its answer is lost: the worst moment."""
    kaggle_server.world.polls_until_version = 1
    kaggle_server.world.kernel_statuses = ["RUNNING", "COMPLETE"]
    environment = kaggle_server.environment(place / "home")
    process = PROCESSES.Process(target=work, args=(environment, place / "mine", place / "runs"))
    fault = kaggle_server.fault("call", skip=at, before=lambda: process.kill())
    process.start()
    process.join(60)
    assert (fault.met, process.exitcode) == ((1, -9) if at < REQUESTS else (0, 0))
    try:
        submitted()
    except UsageError as refused:  # it was over already
        assert "was submitted already" in str(refused)  # noqa: PT017
    (done,) = (file.attempt for file in attempts(place / "runs"))
    assert (done.outcome, done.official_score, done.reference) == ("complete", 0.5, "1000")
    assert len(kaggle_server.world.submissions) == 1
    assert len(kaggle_server.calls("CreateCodeSubmission")) == 1
    (event,) = history.read(place / "runs", kind=Kind.SUBMISSION)
    assert event.official_score == 0.5


def test_parallel_submits_submit_once(place, kaggle_server):
    kaggle_server.world.latency_s = 0.05
    arguments = (kaggle_server.environment(place / "home"), place / "mine", place / "runs")
    processes = [PROCESSES.Process(target=work, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert sorted(process.exitcode for process in processes) == [0, 1, 1]
    assert len(kaggle_server.world.submissions) == 1
    assert len(kaggle_server.calls("SaveKernel")) == 1


def test_push_sends_a_notebook_as_notebook(tmp_path, kaggle_server):
    cells = [{"cell_type": "code", "source": ["a = 1\n", "b = 2"], "outputs": [{"output_type": "stream"}]}]
    (tmp_path / "model.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}))
    one = kernel_bundle(read_code_submission(tmp_path / "model.ipynb"), kaggle_server.world.slug, "NvidiaTeslaT4")
    kernel, _ = pack(one, "ada", tmp_path / "out")
    assert KaggleHost(connect()).push("ada/dfdc-model", kernel, 32400).version == 1
    (pushed,) = kaggle_server.world.kernels["ada/dfdc-model"]
    assert (pushed["kernelType"], pushed["machineShape"]) == ("notebook", "NvidiaTeslaT4")
    assert json.loads(pushed["text"])["cells"][1] == {"cell_type": "code", "source": "a = 1\nb = 2", "outputs": []}


def test_submit_refuses_code_that_was_submitted_already(submitted, kaggle_server):
    done = submitted()
    with pytest.raises(UsageError, match=f"{done.attempt_id}: complete, public score 0.50000") as caught:
        submitted()
    assert "--again" in caught.value.hint
    assert len(kaggle_server.world.submissions) == 1


def test_again_submits_once_more_without_a_second_upload(submitted, place, kaggle_server):
    first = submitted()
    second = submitted(again=True)
    assert first.attempt_id != second.attempt_id
    assert len(kaggle_server.world.submissions) == 2
    assert len(kaggle_server.calls("CreateDataset")) == 1
    assert kaggle_server.calls("CreateDatasetVersion") == []
    assert second.dataset_version == 1


def test_changed_files_become_the_next_dataset_version(submitted, place, finished_run, kaggle_server):
    submitted()
    shutil.rmtree(place / "runs" / attempts(place / "runs")[0].folder.name)  # nothing is known of the first version
    kaggle_server.world.polls_until_version = 3
    kaggle_server.world.dataset_statuses = ["READY", "BLOBS_RECEIVED", "READY"]
    done = submitted()
    assert done.dataset_version == 2
    assert len(kaggle_server.calls("CreateDatasetVersion")) == 1
    calls = [seen.call for seen in kaggle_server.requests]
    last = len(calls) - 1 - calls[::-1].index("SaveKernel")
    assert calls[last - 1] == "GetDatasetStatus"


def test_lost_answer_of_submit_is_looked_up_not_repeated(submitted, kaggle_server):
    """Kaggle accepted the submission; its answer was lost."""
    kaggle_server.fault("lost", at="CreateCodeSubmission")
    with pytest.raises(KaggleError):
        submitted()
    assert len(kaggle_server.calls("CreateCodeSubmission")) == 1
    listener = Listener()
    assert submitted(listener).official_score == 0.5
    assert listener.asked == []
    assert len(kaggle_server.world.submissions) == 1


def test_submit_asks_again_when_the_lost_call_had_no_effect(submitted, kaggle_server):
    kaggle_server.fault("reset", at="CreateCodeSubmission")
    with pytest.raises(KaggleError):
        submitted()
    assert kaggle_server.world.submissions == []
    listener = Listener()
    assert submitted(listener).official_score == 0.5
    assert len(listener.asked) == 1  # asked again: the first was not used


def test_submit_stops_when_the_lost_call_may_have_succeeded(submitted, kaggle_server):
    """The count went up, but no listed submission is ours."""
    kaggle_server.fault("reset", at="CreateCodeSubmission")
    with pytest.raises(KaggleError):
        submitted()
    kaggle_server.world.submissions.append({"ref": 1, "status": "COMPLETE", "description": "a colleague's"})
    with pytest.raises(KaggleError, match="none has the description") as caught:
        submitted()
    assert "--again" in caught.value.hint
    with pytest.raises(UsageError, match="unknown: it may have been submitted"):
        submitted()
    assert len(kaggle_server.world.submissions) == 1


def test_submit_without_quota_resumes_later(submitted, kaggle_server):
    kaggle_server.world.daily_limit = 0
    listener = Listener()
    with pytest.raises(KaggleError, match="No submission is left today"):
        submitted(listener)
    assert listener.asked == []
    assert kaggle_server.calls("CreateCodeSubmission") == []
    kaggle_server.world.daily_limit = 2
    submitted()
    assert len(kaggle_server.calls("SaveKernel")) == 1


def test_submit_stops_when_the_user_declines(submitted, kaggle_server):
    with pytest.raises(UsageError, match="Not submitted"):
        submitted(Listener(answer=False))
    assert kaggle_server.calls("CreateCodeSubmission") == []
    submitted()
    assert len(kaggle_server.calls("SaveKernel")) == 1


def test_failed_hosted_run_uses_no_submission(submitted, place, kaggle_server):
    world = kaggle_server.world
    world.kernel_statuses, world.kernel_failure = ["RUNNING", "ERROR"], "Your notebook tried to allocate too much"
    world.kernel_log = json.dumps([{"stream_name": "stderr", "time": 1, "data": "ValueError: no such model\n"}])
    with pytest.raises(SubmissionError, match="error: Your notebook tried to allocate too much") as caught:
        submitted()
    log = Path(caught.value.command.split()[-1])
    assert log.read_text() == "ValueError: no such model\n"
    assert history.read(place / "runs", kind=Kind.SUBMISSION)[0].outcome.startswith("hosted run: error")
    world.kernel_statuses = ["COMPLETE"]
    assert submitted().kernel_version == 2  # pushed again: a failed run is not submitted
    assert len(world.submissions) == 1


@pytest.mark.parametrize(
    ("outputs", "message"),
    [({}, "wrote no submission.csv"), ({"submission.csv": b"filename,label\na.mp4,nan\n"}, "is not valid")],
)
def test_invalid_hosted_output_is_not_submitted(submitted, kaggle_server, outputs, message):
    kaggle_server.world.kernel_outputs = outputs
    with pytest.raises(SubmissionError, match=message):
        submitted()
    assert kaggle_server.calls("CreateCodeSubmission") == []


def test_scoring_error_is_reported_and_uses_a_submission(submitted, place, kaggle_server):
    kaggle_server.world.score = lambda _: ""
    with pytest.raises(SubmissionError, match="could not score submission 1000: Scoring Error"):
        submitted()
    with pytest.raises(UsageError, match="error: Scoring Error"):
        submitted()
    assert len(kaggle_server.world.submissions) == 1
    assert history.read(place / "runs", kind=Kind.SUBMISSION)[0].outcome == "error: Scoring Error"


def test_short_outage_during_the_hosted_run_is_waited_out(submitted, kaggle_server):
    kaggle_server.fault("status", at="GetKernelSessionStatus", status=503, times=15)
    listener = Listener()
    submitted(listener, outage_s=1.0)
    assert any("503" in said and "Asking again" in said for said in listener.said)


def test_long_outage_ends_submit_and_the_next_call_resumes(submitted, kaggle_server):
    fault = kaggle_server.fault("status", at="GetKernelSessionStatus", status=503, times=-1)
    with pytest.raises(KaggleError, match="503"):
        submitted()
    fault.times = 0
    submitted()
    assert len(kaggle_server.calls("SaveKernel")) == 1


def test_push_names_the_dataset_that_cannot_be_attached(submitted, kaggle_server):
    kaggle_server.fault("call", at="SaveKernel", before=kaggle_server.world.datasets.clear)
    with pytest.raises(KaggleError, match="the dataset ada/dfdc-constant-files cannot be attached"):
        submitted()
    assert kaggle_server.calls("GetKernelSessionStatus") == []


def test_submit_uploads_again_when_kaggle_failed_to_process_the_dataset(submitted, kaggle_server):
    kaggle_server.world.dataset_statuses = ["FAILED"]
    with pytest.raises(KaggleError, match="could not process the dataset"):
        submitted()
    assert kaggle_server.calls("SaveKernel") == []
    kaggle_server.world.dataset_statuses = ["FAILED", "READY"]
    assert submitted().dataset_version == 2  # sent again


def test_submit_continues_without_a_log(submitted, kaggle_server):
    kaggle_server.fault("status", at="ListKernelSessionOutput", status=404)
    listener = Listener()
    submitted(listener)
    assert any(said.startswith("no log for now") for said in listener.said)


@pytest.mark.parametrize("name", ["code-constant", "notebook-dfdc-constant"])
def test_submit_refuses_while_another_is_running(submitted, place, name):
    with (
        submit_lock(place / "runs", name, print),
        pytest.raises(UsageError, match="Another `dfdc submit` is running"),
    ):
        submitted()


def test_submit_continues_with_a_warning_without_file_locks(submitted, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    listener = Listener()
    assert submitted(listener).outcome == "complete"
    assert any("file system without locks" in said for said in listener.said)


def test_attempt_of_schema_version_1_is_still_known(submitted, place):
    """Its file and some fields had other names."""
    done = submitted()
    (file,) = attempts(place / "runs")
    record = json.loads((file.folder / "attempt.json").read_text())
    renamed = {new: old for old, new in RENAMED_1.items()}
    record = {renamed.get(name, name): value for name, value in record.items()} | {"schema_version": 1}
    (file.folder / "attempt.json").unlink()
    (file.folder / "hand-in.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=f"was submitted already \\({done.attempt_id}"):
        submitted()


def test_resumed_attempt_keeps_slug_and_accelerator_but_not_message(submitted, kaggle_server):
    """A new message is used; a new slug or accelerator is not, with a warning."""
    with pytest.raises(UsageError):
        submitted(Listener(answer=False), slug="dfdc-other", accelerator="NvidiaL4")
    listener = Listener()
    done = submitted(listener, message="second thoughts")
    assert (done.kernel, done.accelerator) == ("ada/dfdc-other", "NvidiaL4")
    assert "resumed as it was begun: notebook dfdc-other, accelerator NvidiaL4" in listener.said
    assert kaggle_server.world.submissions[0]["description"].startswith("second thoughts [")
    assert list(kaggle_server.world.kernels) == ["ada/dfdc-other"]


def test_dry_run_reports_the_earlier_attempt(submitted, place, kaggle_server):
    def before() -> str:
        return dry_run(
            submit_request(read_code_submission(place / "mine"), challenges.load()),
            place / "runs",
            RehearsalPolicy.SKIP,
        ).earlier

    assert before() == ""
    with pytest.raises(UsageError):
        submitted(Listener(answer=False))
    assert "last completed step: ran; only the calls after it are made" in before()
    submitted()
    assert "without --again nothing is sent" in before()


def test_submit_refuses_when_the_attempt_record_is_broken(submitted, place, kaggle_server):
    submitted()
    (file,) = attempts(place / "runs")
    (file.folder / "attempt.json").write_text('{"schema_version": 1, "hand')
    with pytest.raises(KitError, match="is not a valid record of a submission attempt"):
        submitted()
    assert len(kaggle_server.world.submissions) == 1


def test_submit_shows_and_writes_no_secret(submitted, place, kaggle_server, monkeypatch, capfd):
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    listener = Listener()
    submitted(listener)
    kaggle_server.fault("status", at="GetSubmissionLimits", status=401, message=f"bad key {KEY}", times=-1)
    with pytest.raises(KaggleError) as caught:
        submitted(again=True)
    written = [path.read_bytes().decode("utf-8", "replace") for path in (place / "runs").rglob("*") if path.is_file()]
    shown = capfd.readouterr()
    everything = "\n".join([*listener.said, listener.printed, str(caught.value), shown.out, shown.err, *written])
    assert [secret for secret in ("planted", "Bearer", "YWRhOn") if secret in everything] == []
