"""Calibrations of two machines, and the time ratio that follows from them."""

import json

import msgspec
import pytest

from dfdc_kit.errors import DataError, DataMissingError
from dfdc_kit.harness.forecast import calibration, measure
from dfdc_kit.harness.forecast.calibration import (
    MARGIN,
    Calibration,
    Work,
    core_speed,
    decoding_s,
    project_hosted,
    time_ratio,
)
from dfdc_kit.profiles import Hardware
from dfdc_kit.report.run_report import Projection

P100 = Hardware(cpu_cores=2, gpu="Tesla P100")
CPU = Hardware(cpu_cores=4)


def machine(core: float = 200.0, cores: int = 2, **more) -> Calibration:
    given = {
        "schema_version": 1,
        "decode_frames_per_s_core": core,
        "decode_frames_per_s_all": core * cores,
        "matmul_gflop_per_s": core * cores / 2,
        "cores": cores,
        "cpu": "a CPU",
        "gpu": "",
        "system": "Linux",
        "versions": {},
        "clip_bytes": 1,
        "measured": "2026-11-24T00:00:00+00:00",
        "source": "measured",
    }
    return Calibration(**(given | more))


def work(busy: float = 1.0, cores: int = 2, declared: bool = False, gpu: str = "") -> Work:
    return Work(busy_cores=busy, cores=cores, gpu_declared=declared, gpu=gpu)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dfdc"


@pytest.fixture
def known():
    return calibration.constants()


def test_published_constants_have_a_source_and_a_date(known):
    for constant in (known.cpu, known.video, *known.gpu.values()):
        assert constant.source
        assert constant.as_of
    for gpu in known.gpu.values():
        for least, most in (gpu.single_tflop_per_s, gpu.half_tflop_per_s, gpu.memory_gb_per_s):
            assert 0 < least <= most


def test_time_ratio_of_equal_machines_is_one_within_the_margin(known):
    least, most = time_ratio(work(), P100, machine(), machine(), known).seconds
    assert least == pytest.approx(1 / (1 + MARGIN))
    assert most == pytest.approx(1 / (1 - MARGIN))


def test_time_ratio_is_two_for_cores_half_as_fast(known):
    least, most = time_ratio(work(), P100, machine(200), machine(100), known).seconds
    assert least < 2 < most


def test_measured_core_speed_is_narrower_than_the_assumed_one(known):
    measured, sources = core_speed(machine(), machine(), known)
    assumed, assumptions = core_speed(machine(), None, known)
    assert measured[1] / measured[0] < assumed[1] / assumed[0]
    assert "2026-11-24" in sources[0]
    assert "Measure it" in assumptions[0]


def test_time_ratio_is_one_for_a_program_that_only_waits(known):
    assert time_ratio(work(busy=0.0), P100, machine(200), machine(100), known).seconds == (1, 1)


def test_time_ratio_depends_on_the_number_of_cores(known):
    few = time_ratio(work(busy=15.0, cores=16), P100, machine(cores=16), machine(), known).seconds
    many = time_ratio(work(busy=2.0, cores=2), CPU, machine(), machine(cores=4), known).seconds
    assert few[1] > 7
    assert many[0] < 0.5 < many[1]


def test_time_ratio_is_refused_for_a_gpu_submission_that_ran_on_a_cpu(known):
    ratio = time_ratio(work(declared=True), P100, machine(), machine(), known)
    assert ratio.seconds is None
    assert "ran on a CPU" in ratio.refused


def test_time_ratio_of_two_gpus_covers_compute_and_bandwidth(known):
    least, most = time_ratio(
        work(declared=True, gpu="Tesla T4"), P100, machine(), machine(gpu="Tesla T4"), known
    ).seconds
    assert least < 320 / 732  # by bandwidth a P100 is 2.3 times faster
    assert most > 65 / 21.2  # by its tensor cores a T4 is 3 times faster
    unknown = time_ratio(work(declared=True, gpu="Voodoo 2"), P100, machine(), machine(), known)
    assert unknown.seconds is None
    assert "Voodoo 2" in unknown.refused


def test_time_ratio_is_refused_for_a_gpu_submission_on_a_cpu_machine(known):
    assert time_ratio(work(declared=True), CPU, machine(), machine(), known).seconds is None


def test_hosted_projection_without_upper_bound_has_none():
    there = project_hosted(Projection(videos=10, low_s=10, median_s=20, high_s=None), (0.5, 2.0))
    assert (there.low_s, there.median_s, there.high_s) == (5, 20, None)


def test_decoding_time_is_wider_without_a_hosted_calibration(known):
    assert decoding_s(4000, 2, None, None, known) is None
    least, most = decoding_s(4000, 2, machine(), machine(), known)
    assert least < 4000 * 300 / 400 < most
    assert decoding_s(4000, 2, machine(), None, known)[1] > most


def test_saved_calibration_is_read_back_on_the_same_machine_only(cache):
    assert calibration.local_calibration() is None
    assert calibration.hosted_calibration() is None
    mine = machine(cpu=measure.cpu_name(), cores=measure.usable_cores())
    assert calibration.save(mine) == cache / "calibration.json"
    assert calibration.local_calibration() == mine
    calibration.save(machine(cpu="another machine's"))
    assert calibration.local_calibration() is None
    calibration.save(machine(), calibration.HOSTED)
    assert calibration.hosted_calibration() == machine()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"schema_version": 1}',
        msgspec.json.encode(machine(core=0.0)),
        msgspec.json.encode(machine(core=-1.0)),
        msgspec.json.encode(machine(schema_version=2)),
        msgspec.json.encode(msgspec.to_builtins(machine()) | {"frames_per_second": 3}),
    ],
)
def test_read_refuses_a_broken_calibration(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(DataError):
        calibration.read(path)
    with pytest.raises(DataMissingError):
        calibration.read(tmp_path / "absent.json")


def test_calibrate_measures_this_machine(monkeypatch):
    monkeypatch.setattr(measure, "ROUNDS", 1)
    monkeypatch.setattr(measure, "FRAMES", 20)
    found = calibration.calibrate()
    assert found.decode_frames_per_s_core > 0
    assert found.decode_frames_per_s_all > 0
    assert found.matmul_gflop_per_s > 0
    assert found.cores >= 1


def test_notebook_runs_without_the_kit_and_writes_a_calibration(tmp_path, monkeypatch):
    calibration.write_notebook(tmp_path / "n.ipynb")
    notebook = json.loads((tmp_path / "n.ipynb").read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert cells[1]["outputs"] == []
    source = "".join(cells[1]["source"])
    assert "dfdc_kit" not in source
    monkeypatch.chdir(tmp_path)
    short = source.replace("= 90, 1920", "= 20, 1920").replace("ROUNDS = 3", "ROUNDS = 1")
    exec(compile(short, "notebook", "exec"), {"__name__": "__main__"})
    assert calibration.read(tmp_path / measure.OUT).clip_bytes > 10_000


def test_calibrate_does_not_overwrite_a_notebook(dfdc, tmp_path):
    (tmp_path / "mine.ipynb").write_text("precious")
    done = dfdc("calibrate", "--notebook", "mine.ipynb")
    assert done.returncode == 2
    assert "mine.ipynb exists already; nothing was written." in done.stderr
    assert (tmp_path / "mine.ipynb").read_text() == "precious"
    assert dfdc("calibrate", "--notebook", "other.ipynb").returncode == 0
