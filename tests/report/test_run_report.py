"""Saved run reports of every schema version stay readable."""

import json
from pathlib import Path

import msgspec
import pytest

from dfdc_kit.errors import DataError, DataMissingError
from dfdc_kit.harness.judge import judge
from dfdc_kit.report import html, run_report
from dfdc_kit.report.run_report import SCHEMA_VERSION, UPGRADES

CASES = Path(__file__).parents[1] / "cases" / "reports"
SAVED = sorted(CASES.glob("schema-*.json"))


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_saved_report_of_each_version_loads_renders_and_keeps_its_verdict(path):
    report = run_report.load(path)
    assert report.schema_version == SCHEMA_VERSION
    assert report.submission in html.render(report)
    second = judge(report.observation, report.scoring, report.challenge, report.profile)
    assert second.verdict is report.judgement.verdict


def test_each_schema_version_has_a_saved_report():
    """Raising SCHEMA_VERSION makes this fail until a report of the new version is saved and the old one upgraded."""
    versions = {json.loads(path.read_bytes())["schema_version"] for path in SAVED}
    assert versions == {*UPGRADES, SCHEMA_VERSION}


def test_saved_report_of_the_current_version_has_exactly_its_fields():
    """Fails when a field changes: raise SCHEMA_VERSION, or save this report again if the version is unreleased."""
    for path in CASES.glob(f"schema-{SCHEMA_VERSION}-*.json"):
        raw = json.loads(path.read_bytes())
        assert json.loads(msgspec.json.encode(run_report.load(path))) == raw


def test_upgraded_report_keeps_every_figure():
    before = json.loads((CASES / "schema-3-exception.json").read_bytes())
    report = run_report.load(CASES / "schema-3-exception.json")
    seen = before["observation"]
    assert report.solution == before["truth"]
    assert report.partial_score.fill_value == before["partial"]["prior"]
    assert report.partial_score.rows_written == before["partial"]["rows_written"] == 7
    assert report.machine.unmet_requirements == before["machine"]["unmet"] != []
    assert [diff.hosted for diff in report.environment_diffs] == [gap["there"] for gap in before["gaps"]]
    assert report.observation.noise.other_programs_share == seen["noise"]["others_share"]
    assert len(report.observation.reads) == len(seen["reads"]) == 3


def test_load_reports_missing_broken_and_newer_files(tmp_path):
    with pytest.raises(DataMissingError, match="Run report not found"):
        run_report.load(tmp_path)
    path = tmp_path / "run.json"
    for text in ("{", "[]", '{"schema_version": 3}', f'{{"schema_version": {SCHEMA_VERSION}}}'):
        path.write_text(text)
        with pytest.raises(DataError, match="is not a run report"):
            run_report.load(path)
    path.write_text('{"schema_version": 99}')
    with pytest.raises(DataError, match="schema version 99; this version of dfdc reads 3, 4"):
        run_report.load(path)
