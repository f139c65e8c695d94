"""Handing in, with Kaggle's own client against a fake Kaggle: every step, every interruption, no second submission."""

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
from dfdc_kit.kaggle import connect
from dfdc_kit.kaggle.submit.attempt import attempts
from dfdc_kit.kaggle.submit.bundle import kernel_bundle, pack
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
def handed_in(place):
    """Hand in what lies in the place; the record, and what was said."""

    def call(listener: Listener | None = None, **options):
        return submit_at_once(place / "mine", place / "runs", listener or Listener(), **options)

    return call


def names(server, skip: tuple[str, ...] = ()) -> list[str]:
    calls = [seen.call or seen.method for seen in server.requests]
    return [call for at, call in enumerate(calls) if call not in skip and (at == 0 or calls[at - 1] != call)]


def test_from_the_first_call_to_the_score(handed_in, place, kaggle_server):
    listener = Listener()
    done = handed_in(listener, message="larger crops")
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
    hand_in, run = history.read(place / "runs")
    assert (hand_in.kind, hand_in.official_score, hand_in.reference) == (Kind.HAND_IN, 0.5, "1000")
    assert (run.kind, run.official_score, run.local_score) == (Kind.RUN, 0.5, hand_in.local_score)


def test_what_is_pushed(handed_in, place, kaggle_server):
    handed_in()
    (pushed,) = kaggle_server.world.kernels["ada/dfdc-constant"]
    assert pushed["text"].endswith(', "main.py")\n')
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


def test_a_gpu_is_asked_for_by_name(handed_in, place, kaggle_server):
    handed_in(accelerator="nvidial4")
    (pushed,) = kaggle_server.world.kernels["ada/dfdc-constant"]
    assert (pushed["enableGpu"], pushed["machineShape"]) == (True, "NvidiaL4")


@pytest.mark.parametrize("at", range(REQUESTS + 1))
def test_killed_at_any_request_it_goes_on_and_submits_once(at, place, handed_in, kaggle_server):
    """The request that it dies over takes effect, its answer is lost: the worst moment there is."""
    kaggle_server.world.polls_until_version = 1
    kaggle_server.world.kernel_statuses = ["RUNNING", "COMPLETE"]
    environment = kaggle_server.environment(place / "home")
    process = PROCESSES.Process(target=work, args=(environment, place / "mine", place / "runs"))
    fault = kaggle_server.fault("call", skip=at, before=lambda: process.kill())
    process.start()
    process.join(60)
    assert (fault.met, process.exitcode) == ((1, -9) if at < REQUESTS else (0, 0))
    try:
        handed_in()
    except UsageError as refused:  # it was over already
        assert "was submitted already" in str(refused)  # noqa: PT017
    (done,) = (file.attempt for file in attempts(place / "runs"))
    assert (done.outcome, done.official_score, done.reference) == ("complete", 0.5, "1000")
    assert len(kaggle_server.world.submissions) == 1
    assert len(kaggle_server.calls("CreateCodeSubmission")) == 1
    (event,) = history.read(place / "runs", kind=Kind.HAND_IN)
    assert event.official_score == 0.5


def test_two_at_the_same_time_submit_once(place, kaggle_server):
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


def test_a_notebook_is_pushed_as_one(tmp_path, kaggle_server):
    cells = [{"cell_type": "code", "source": ["a = 1\n", "b = 2"], "outputs": [{"output_type": "stream"}]}]
    (tmp_path / "model.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}))
    one = kernel_bundle(read_code_submission(tmp_path / "model.ipynb"), kaggle_server.world.slug, "NvidiaTeslaT4")
    kernel, _ = pack(one, "ada", tmp_path / "out")
    assert KaggleHost(connect()).push("ada/dfdc-model", kernel, 32400).version == 1
    (pushed,) = kaggle_server.world.kernels["ada/dfdc-model"]
    assert (pushed["kernelType"], pushed["machineShape"]) == ("notebook", "NvidiaTeslaT4")
    assert json.loads(pushed["text"])["cells"][1] == {"cell_type": "code", "source": "a = 1\nb = 2", "outputs": []}


def test_handed_in_already(handed_in, kaggle_server):
    done = handed_in()
    with pytest.raises(UsageError, match=f"{done.attempt_id}: complete, public score 0.50000") as caught:
        handed_in()
    assert "--again" in caught.value.hint
    assert len(kaggle_server.world.submissions) == 1


def test_again_spends_another_and_uploads_no_file_twice(handed_in, place, kaggle_server):
    first = handed_in()
    second = handed_in(again=True)
    assert first.attempt_id != second.attempt_id
    assert len(kaggle_server.world.submissions) == 2
    assert len(kaggle_server.calls("CreateDataset")) == 1
    assert kaggle_server.calls("CreateDatasetVersion") == []
    assert second.dataset_version == 1


def test_other_files_become_the_next_version_and_are_waited_for(handed_in, place, finished_run, kaggle_server):
    handed_in()
    shutil.rmtree(place / "runs" / attempts(place / "runs")[0].folder.name)  # nothing is known of the first version
    kaggle_server.world.polls_until_version = 3
    kaggle_server.world.dataset_statuses = ["READY", "BLOBS_RECEIVED", "READY"]
    done = handed_in()
    assert done.dataset_version == 2
    assert len(kaggle_server.calls("CreateDatasetVersion")) == 1
    calls = [seen.call for seen in kaggle_server.requests]
    last = len(calls) - 1 - calls[::-1].index("SaveKernel")
    assert calls[last - 1] == "GetDatasetStatus"


def test_an_answer_that_is_lost_is_looked_for_not_asked_again(handed_in, kaggle_server):
    """Kaggle took the submission; its answer never came."""
    kaggle_server.fault("lost", at="CreateCodeSubmission")
    with pytest.raises(KaggleError):
        handed_in()
    assert len(kaggle_server.calls("CreateCodeSubmission")) == 1
    listener = Listener()
    assert handed_in(listener).official_score == 0.5
    assert listener.asked == []
    assert len(kaggle_server.world.submissions) == 1


def test_a_call_that_did_nothing_is_made_again(handed_in, kaggle_server):
    kaggle_server.fault("reset", at="CreateCodeSubmission")
    with pytest.raises(KaggleError):
        handed_in()
    assert kaggle_server.world.submissions == []
    listener = Listener()
    assert handed_in(listener).official_score == 0.5
    assert len(listener.asked) == 1  # agreed again: the first was not spent


def test_where_it_cannot_be_known_nothing_is_spent(handed_in, kaggle_server):
    """The count went up, and no listed submission is ours: a person must look."""
    kaggle_server.fault("reset", at="CreateCodeSubmission")
    with pytest.raises(KaggleError):
        handed_in()
    kaggle_server.world.submissions.append({"ref": 1, "status": "COMPLETE", "description": "a colleague's"})
    with pytest.raises(KaggleError, match="none has the description") as caught:
        handed_in()
    assert "--again" in caught.value.hint
    with pytest.raises(UsageError, match="unknown: it may have been submitted"):
        handed_in()
    assert len(kaggle_server.world.submissions) == 1


def test_no_submission_left_waits_for_tomorrow(handed_in, kaggle_server):
    kaggle_server.world.daily_limit = 0
    listener = Listener()
    with pytest.raises(KaggleError, match="No submission is left today"):
        handed_in(listener)
    assert listener.asked == []
    assert kaggle_server.calls("CreateCodeSubmission") == []
    kaggle_server.world.daily_limit = 2
    handed_in()
    assert len(kaggle_server.calls("SaveKernel")) == 1


def test_no_is_no(handed_in, kaggle_server):
    with pytest.raises(UsageError, match="Not submitted"):
        handed_in(Listener(answer=False))
    assert kaggle_server.calls("CreateCodeSubmission") == []
    handed_in()
    assert len(kaggle_server.calls("SaveKernel")) == 1


def test_a_hosted_run_that_fails_spends_nothing(handed_in, place, kaggle_server):
    world = kaggle_server.world
    world.kernel_statuses, world.kernel_failure = ["RUNNING", "ERROR"], "Your notebook tried to allocate too much"
    world.kernel_log = json.dumps([{"stream_name": "stderr", "time": 1, "data": "ValueError: no such model\n"}])
    with pytest.raises(SubmissionError, match="error: Your notebook tried to allocate too much") as caught:
        handed_in()
    log = Path(caught.value.command.split()[-1])
    assert log.read_text() == "ValueError: no such model\n"
    assert history.read(place / "runs", kind=Kind.HAND_IN)[0].outcome.startswith("hosted run: error")
    world.kernel_statuses = ["COMPLETE"]
    assert handed_in().kernel_version == 2  # pushed anew: a failed run is no hand-in
    assert len(world.submissions) == 1


@pytest.mark.parametrize(
    ("outputs", "told"),
    [({}, "wrote no submission.csv"), ({"submission.csv": b"filename,label\na.mp4,nan\n"}, "is not valid")],
)
def test_an_output_that_would_be_refused_is_not_submitted(handed_in, kaggle_server, outputs, told):
    kaggle_server.world.kernel_outputs = outputs
    with pytest.raises(SubmissionError, match=told):
        handed_in()
    assert kaggle_server.calls("CreateCodeSubmission") == []


def test_a_scoring_error_counts_and_is_said(handed_in, place, kaggle_server):
    kaggle_server.world.score = lambda _: ""
    with pytest.raises(SubmissionError, match="could not score submission 1000: Scoring Error"):
        handed_in()
    with pytest.raises(UsageError, match="error: Scoring Error"):
        handed_in()
    assert len(kaggle_server.world.submissions) == 1
    assert history.read(place / "runs", kind=Kind.HAND_IN)[0].outcome == "error: Scoring Error"


def test_an_outage_while_it_runs_is_sat_out(handed_in, kaggle_server):
    kaggle_server.fault("status", at="GetKernelSessionStatus", status=503, times=15)
    listener = Listener()
    handed_in(listener, outage_s=1.0)
    assert any("503" in said and "Asking again" in said for said in listener.said)


def test_an_outage_that_lasts_ends_it_and_the_next_call_goes_on(handed_in, kaggle_server):
    fault = kaggle_server.fault("status", at="GetKernelSessionStatus", status=503, times=-1)
    with pytest.raises(KaggleError, match="503"):
        handed_in()
    fault.times = 0
    handed_in()
    assert len(kaggle_server.calls("SaveKernel")) == 1


def test_a_data_set_that_cannot_be_attached_is_named(handed_in, kaggle_server):
    kaggle_server.fault("call", at="SaveKernel", before=kaggle_server.world.datasets.clear)
    with pytest.raises(KaggleError, match="the dataset ada/dfdc-constant-files cannot be attached"):
        handed_in()
    assert kaggle_server.calls("GetKernelSessionStatus") == []


def test_a_data_set_that_cannot_be_processed(handed_in, kaggle_server):
    kaggle_server.world.dataset_statuses = ["FAILED"]
    with pytest.raises(KaggleError, match="could not process the dataset"):
        handed_in()
    assert kaggle_server.calls("SaveKernel") == []
    kaggle_server.world.dataset_statuses = ["FAILED", "READY"]
    assert handed_in().dataset_version == 2  # sent again


def test_no_log_is_no_reason_to_stop(handed_in, kaggle_server):
    kaggle_server.fault("status", at="ListKernelSessionOutput", status=404)
    listener = Listener()
    handed_in(listener)
    assert any(said.startswith("no log for now") for said in listener.said)


@pytest.mark.parametrize("name", ["code-constant", "notebook-dfdc-constant"])
def test_one_at_a_time(handed_in, place, name):
    with (
        submit_lock(place / "runs", name, print),
        pytest.raises(UsageError, match="Another `dfdc submit` is running"),
    ):
        handed_in()


def test_it_goes_on_as_it_was_begun(handed_in, kaggle_server):
    """Another message is taken; another name or accelerator is not, and that is said."""
    with pytest.raises(UsageError):
        handed_in(Listener(answer=False), slug="dfdc-other", accelerator="NvidiaL4")
    listener = Listener()
    done = handed_in(listener, message="second thoughts")
    assert (done.kernel, done.accelerator) == ("ada/dfdc-other", "NvidiaL4")
    assert "resumed as it was begun: notebook dfdc-other, accelerator NvidiaL4" in listener.said
    assert kaggle_server.world.submissions[0]["description"].startswith("second thoughts [")
    assert list(kaggle_server.world.kernels) == ["ada/dfdc-other"]


def test_a_plan_knows_what_was_before(handed_in, place, kaggle_server):
    def before() -> str:
        return dry_run(submit_request(read_code_submission(place / "mine"), challenges.load()), place / "runs").earlier

    assert before() == ""
    with pytest.raises(UsageError):
        handed_in(Listener(answer=False))
    assert "last completed step: ran; only the calls after it are made" in before()
    handed_in()
    assert "without --again nothing is sent" in before()


def test_a_broken_record_is_no_reason_to_send_again(handed_in, place, kaggle_server):
    handed_in()
    (file,) = attempts(place / "runs")
    (file.folder / "attempt.json").write_text('{"schema_version": 1, "hand')
    with pytest.raises(KitError, match="is not a valid record of a submission attempt"):
        handed_in()
    assert len(kaggle_server.world.submissions) == 1


def test_no_secret_anywhere(handed_in, place, kaggle_server, monkeypatch, capfd):
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    listener = Listener()
    handed_in(listener)
    kaggle_server.fault("status", at="GetSubmissionLimits", status=401, message=f"bad key {KEY}", times=-1)
    with pytest.raises(KaggleError) as caught:
        handed_in(again=True)
    written = [path.read_bytes().decode("utf-8", "replace") for path in (place / "runs").rglob("*") if path.is_file()]
    shown = capfd.readouterr()
    everything = "\n".join([*listener.said, listener.printed, str(caught.value), shown.out, shown.err, *written])
    assert [secret for secret in ("planted", "Bearer", "YWRhOn") if secret in everything] == []
