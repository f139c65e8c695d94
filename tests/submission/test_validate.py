"""Every rule of the submission file, on real files that break it; the verdict on each is written beside it."""

import json
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import DataError, DataMissingError, SubmissionError, UsageError
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.rules_label import EPSILON
from dfdc_kit.submission.validate import ERROR, NOT_FOUND, RULES, SCORING, reference, repair, validate

CASES = Path(__file__).parents[1] / "cases" / "submissions"
FOLDERS = sorted(path for path in CASES.iterdir() if path.is_dir())
CHALLENGE = challenges.load()
NOT_A_FILE_GIT_CAN_KEEP = {"file-missing", "file-kind", "file-size"}


def expected_of(expect: dict) -> ExpectedRows | None:
    name = expect.get("against", "sample_submission.csv")
    if name == "solution.csv":
        from dfdc_kit.data.solution import read_solution

        solution = read_solution(CASES / name, CHALLENGE)
        return ExpectedRows.from_solution(solution.ids, solution.labels, name)
    return ExpectedRows.from_path(CASES / name, CHALLENGE) if name else None


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_validate_finds_exactly_the_defects_of_a_case(folder, tmp_path):
    expect = tomllib.loads((folder / "expect.toml").read_text("utf-8"))
    path, expected = folder / "submission.csv", expected_of(expect)
    validation, table = validate(path, CHALLENGE, expected)

    assert {violation.code: violation.count for violation in validation.violations} == expect["counts"]
    assert validation.valid == expect["valid"] == (table is not None)
    for violation in validation.violations:
        lines = [example.line for example in violation.examples if example.line]
        assert lines == expect.get("lines", {}).get(violation.code, lines), violation.code
        assert len(violation.examples) <= 5
        assert violation.fix
        assert violation.kaggle == (SCORING if violation.severity == ERROR else "")

    report = repair(path, tmp_path / "out.csv", CHALLENGE, expected)
    assert report.written == (tmp_path / "out.csv").exists() == expect["repaired"]
    if report.written:
        after, _ = validate(tmp_path / "out.csv", CHALLENGE, expected)
        assert not [
            violation.code for violation in after.violations if violation.severity == ERROR or violation.repairable
        ]


def test_every_rule_has_a_case():
    seen = {code for folder in FOLDERS for code in tomllib.loads((folder / "expect.toml").read_text())["counts"]}
    assert {rule.code for rule in RULES} - NOT_A_FILE_GIT_CAN_KEEP == seen
    assert len(FOLDERS) >= 35


def test_codes_are_unique_lower_case_words():
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("-", "").isalpha() and code.islower() for code in codes)


def test_reference_page_is_up_to_date(root):
    page = root / "docs" / "reference" / "submission-rules.md"
    assert page.read_text("utf-8") == reference(), "run: python docs/generate.py"


def test_epsilon_is_that_of_the_metric(root):
    assert f"\nEPSILON = {EPSILON!r}\n" in (root / "evaluate.py").read_text()


def codes(path: Path, expected: ExpectedRows | None = None) -> list[str]:
    return [violation.code for violation in validate(path, CHALLENGE, expected)[0].violations]


def test_validate_reports_a_missing_file(tmp_path):
    validation, table = validate(tmp_path / "submission.csv", CHALLENGE)
    assert [(found.code, found.kaggle) for found in validation.violations] == [("file-missing", NOT_FOUND)]
    assert table is None
    assert codes(tmp_path / "a" / "b.csv") == ["file-missing"]


def test_validate_never_hangs_on_pipes_and_devices(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    assert codes(tmp_path / "pipe.csv") == ["file-kind"]
    assert codes(tmp_path) == ["file-kind"]
    assert codes(Path("/dev/zero")) == ["file-kind"]
    assert codes(Path("/dev/null")) == ["file-kind"]


def test_validate_does_not_read_a_huge_file(tmp_path):
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate((2 << 30) + 1)
    assert codes(tmp_path / "huge.csv") == ["file-size"]


def test_examples_have_line_seen_and_expected(tmp_path):
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.2\nvideos/b.mp4,\nc,1.5\n")
    expected = ExpectedRows.from_names(["a.mp4", "b.mp4", "c.mp4"], "the list")
    found = {violation.code: violation for violation in validate(tmp_path / "s.csv", CHALLENGE, expected)[0].violations}
    found_lines = [(example.line, example.seen, example.expected) for example in found["id-unknown"].examples]
    assert found_lines == [(3, "videos/b.mp4", "b.mp4"), (4, "c", "c.mp4")]
    assert found["id-unknown"].fix == "Write the bare file name, without its folder. The file name includes .mp4."
    assert [example.row_id for example in found["id-missing"].examples] == ["b.mp4", "c.mp4"]
    assert found["label-out-of-range"].examples[0].seen == "1.5"


@pytest.mark.parametrize(
    ("case", "code", "hint"),
    [
        ("decimal-comma", "row-width", "0.5, not 0,5"),
        ("decimal-comma-quoted", "label-not-number", "0.5, not 0,5"),
        ("percent-sign", "label-not-number", "not percent"),
        ("percent-scale", "label-out-of-range", "divide them by 100"),
        ("logits", "label-out-of-range", "sigmoid"),
        ("class-names", "label-not-number", "probability of FAKE"),
        ("booleans", "label-not-number", "probability of FAKE"),
        ("tensor-label", "label-not-number", "value.item()"),
        ("hexadecimal-label", "label-not-number", "hexadecimal"),
        ("underscore-label", "label-not-number", "underscores"),
        ("index-column", "header-columns", "index=False"),
        ("id-with-folder", "id-unknown", "without its folder"),
        ("id-without-suffix", "id-unknown", "includes .mp4"),
        ("id-in-capitals", "id-unknown", "case letters differ"),
    ],
)
def test_fix_names_the_likely_cause(case, code, hint):
    expected = ExpectedRows.from_path(CASES / "sample_submission.csv", CHALLENGE)
    found = {
        violation.code: violation
        for violation in validate(CASES / case / "submission.csv", CHALLENGE, expected)[0].violations
    }
    assert hint in found[code].fix


def test_extreme_labels_are_reported_with_their_cost():
    expected = ExpectedRows.from_path(CASES / "sample_submission.csv", CHALLENGE)
    (found,) = validate(CASES / "exact-ones" / "submission.csv", CHALLENGE, expected)[0].violations
    assert "34.54 in that row" in found.message


def test_table_has_text_ids_and_float_labels():
    expected = ExpectedRows.from_path(CASES / "sample_submission.csv", CHALLENGE)
    _, table = validate(CASES / "valid-number-forms" / "submission.csv", CHALLENGE, expected)
    frame = table.frame()
    assert list(frame.columns) == ["filename", "label"]
    assert frame["label"].dtype == np.float64
    assert frame["label"].tolist()[:8] == [0.5, 1.0, 0.51, -0.0, 0.001, 0.52, float("0.1234567890123456789"), 5e-324]
    assert frame["filename"].tolist() == [name.decode() for name in expected.ids.tolist()]


class TestExpected:
    def test_rows_of_a_folder_of_videos(self, tmp_path):
        for name in ("b.mp4", "a.mp4", "notes.txt"):
            (tmp_path / name).touch()
        (tmp_path / "c.mp4").mkdir()
        assert ExpectedRows.from_path(tmp_path, CHALLENGE).ids.tolist() == [b"a.mp4", b"b.mp4"]

    def test_rows_of_a_data_folder(self, sample):
        assert len(ExpectedRows.from_path(sample, CHALLENGE).ids) == 16
        assert len(ExpectedRows.from_path(sample / "test_videos", CHALLENGE).ids) == 16

    def test_sample_value_is_that_of_the_sample(self, sample):
        assert ExpectedRows.from_path(sample, CHALLENGE).sample_value == 0

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("filename,label\na.mp4,0\na.mp4,0\n", "again"),
            ("filename,label\n,0\n", "empty"),
            ("filename,label\n", "at least one row"),
            ("", "file-empty"),
            ("name,value\na.mp4,0\n", "name,value"),
            ("filename,label\na.mp4,0,0\n", "row-width"),
        ],
    )
    def test_broken_sample_is_a_data_error(self, tmp_path, text, message):
        (tmp_path / "sample.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            ExpectedRows.from_path(tmp_path / "sample.csv", CHALLENGE)

    def test_missing_path_is_a_usage_error(self, tmp_path):
        with pytest.raises(UsageError, match="File or folder not found"):
            ExpectedRows.from_path(tmp_path / "sample.csv", CHALLENGE)
        with pytest.raises(DataError, match=r"no \*\.mp4"):
            ExpectedRows.from_path(tmp_path, CHALLENGE)

    def test_unreadable_file_is_not_the_submissions_fault(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        (tmp_path / "s.csv").write_text("filename,label\n")
        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(DataMissingError, match="Permission denied"):
            validate(tmp_path / "s.csv", CHALLENGE)


class TestRepair:
    EXPECTED = ExpectedRows.from_names(["a.mp4", "b.mp4", "c.mp4"], "the list")

    def test_repair_fixes_without_guessing_and_keeps_digits(self, tmp_path):
        (tmp_path / "in.csv").write_bytes(
            b'\xef\xbb\xbfLabel, FileName\r\n 0.10,c.mp4\r\n1e-3, a.mp4\r\n\r\n"+.5",b.mp4'
        )
        report = repair(tmp_path / "in.csv", tmp_path / "out.csv", CHALLENGE, self.EXPECTED)
        assert (tmp_path / "out.csv").read_bytes() == b"filename,label\na.mp4,1e-3\nb.mp4,+.5\nc.mp4,0.10\n"
        assert {violation.code for violation in report.fixed} >= {
            "bom",
            "crlf",
            "row-order",
            "header-case",
            "label-blanks",
        }
        again = repair(tmp_path / "out.csv", tmp_path / "again.csv", CHALLENGE, self.EXPECTED)
        assert again.fixed == []
        assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()

    def test_repair_does_not_guess_and_writes_nothing(self, tmp_path):
        (tmp_path / "in.csv").write_text("filename,label\na.mp4, 0.5\nb.mp4,0,5\nb.mp4,nan\n")
        report = repair(tmp_path / "in.csv", tmp_path / "out.csv", CHALLENGE, self.EXPECTED)
        assert not report.written
        assert [violation.code for violation in report.remains] == ["row-width", "id-missing", "label-nan"]
        assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]

    def test_repair_never_overwrites_its_input(self, tmp_path):
        (tmp_path / "in.csv").write_text("filename,label\na.mp4, 0.5\n")
        (tmp_path / "link.csv").symlink_to(tmp_path / "in.csv")
        for out in ("in.csv", "link.csv", "."):
            with pytest.raises(UsageError):
                repair(tmp_path / "in.csv", tmp_path / out, CHALLENGE)
        assert (tmp_path / "in.csv").read_text() == "filename,label\na.mp4, 0.5\n"

    def test_repair_never_leaves_an_invalid_copy(self, tmp_path, monkeypatch):
        (tmp_path / "in.csv").write_text("filename,label\na.mp4, 0.5\n")
        monkeypatch.setattr("dfdc_kit.submission.validate._lines", lambda _: [b"filename,label\na.mp4,nan\n"])
        with pytest.raises(SubmissionError, match="label-nan"):
            repair(tmp_path / "in.csv", tmp_path / "out.csv", CHALLENGE)
        assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]

    def test_repair_keeps_quotes_that_are_needed(self, tmp_path):
        (tmp_path / "in.csv").write_text('filename,label\n"a,1.mp4", 0.5\n"b""2.mp4",0.25\n')
        report = repair(tmp_path / "in.csv", tmp_path / "out.csv", CHALLENGE)
        assert report.written
        assert (tmp_path / "out.csv").read_text() == 'filename,label\n"a,1.mp4",0.5\n"b""2.mp4",0.25\n'


class TestCommand:
    """The command line; its JSON and exit codes are stable."""

    def test_invalid_file_exits_1_with_every_line(self, dfdc):
        done = dfdc(
            "validate", CASES / "everything-at-once" / "submission.csv", "--against", CASES / "sample_submission.csv"
        )
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        assert "error label-nan: 1 row whose label is NaN, NA, null or None (Submission Scoring Error)" in lines
        assert "    line 4: ayipraspbn.mp4: seen nan, expected a number from 0 to 1" in lines
        assert lines[-1].startswith("NOT VALID: 7 rows against the sample submission ")
        assert lines[-1].endswith("; 10 errors and 3 warnings; Kaggle: Submission Scoring Error")
        assert done.stderr == ""

    def test_valid_file_exits_0(self, dfdc, sample):
        done = dfdc("validate", CASES / "valid" / "submission.csv", "--against", CASES / "sample_submission.csv")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("VALID: 12 rows")

    def test_says_when_ids_were_not_checked(self, dfdc):
        done = dfdc("validate", CASES / "valid" / "submission.csv")
        assert done.returncode == 0
        assert "Row ids were not checked" in done.stdout
        assert "--against sample_submission.csv" in done.stdout

    def test_json_has_lines_and_expected_values(self, dfdc):
        done = dfdc("validate", CASES / "nan-label" / "submission.csv", "--json", "-a", CASES / "solution.csv")
        document = json.loads(done.stdout)
        assert done.returncode == 1
        assert (document["valid"], document["ids_checked"], document["rows"]) == (False, True, 12)
        assert document["against"].startswith("the solution ")
        assert document["violations"][0]["code"] == "label-nan"
        assert document["violations"][0]["examples"][0] == {
            "line": 2,
            "row_id": "acxwigylke.mp4",
            "seen": "nan",
            "expected": "a number from 0 to 1",
        }

    @pytest.mark.parametrize("name", ["sample_submission.csv", "test_videos", "solution", "."])
    def test_against_is_recognised_by_its_content(self, dfdc, sample, name):
        done = dfdc("validate", sample / "sample_submission.csv", "--against", sample / name, "--json")
        document = json.loads(done.stdout)
        assert (done.returncode, document["rows"]) == (0, 16)
        origin = {"sample_submission.csv": "the sample submission", "test_videos": "the videos in"}
        assert document["against"].startswith(origin.get(name, "the solution"))

    def test_repair_writes_a_fixed_copy(self, dfdc, tmp_path):
        done = dfdc("validate", CASES / "space-after-comma" / "submission.csv", "--repair", tmp_path / "out.csv")
        assert done.returncode == 0
        assert "fixed label-blanks: 12 rows with blanks around the label" in done.stdout
        assert (tmp_path / "out.csv").read_bytes() == (CASES / "valid" / "submission.csv").read_bytes()
        done = dfdc("validate", CASES / "nan-label" / "submission.csv", "--repair", tmp_path / "no.csv")
        assert done.returncode == 1
        assert "NOT WRITTEN: label-nan cannot be fixed without guessing" in done.stdout
        assert not (tmp_path / "no.csv").exists()

    def test_wrong_usage_exits_2(self, dfdc, tmp_path):
        path = CASES / "valid" / "submission.csv"
        assert dfdc("validate", path, "--against", tmp_path / "none.csv").returncode == 2
        assert dfdc("validate", path, "--repair", path).returncode == 2
        assert dfdc("validate", path, "--against", CASES / "nan-label" / "submission.csv", "--what").returncode == 2
        assert dfdc("validate", tmp_path / "none.csv").returncode == 2

    def test_text_from_the_file_is_escaped(self, dfdc, tmp_path):
        (tmp_path / "s.csv").write_text("filename,label\n[bold]a.mp4,\x1b[31mred\n")
        done = dfdc("validate", tmp_path / "s.csv")
        assert "[bold]a.mp4" in done.stdout
        assert "\x1b" not in done.stdout

    def test_validate_imports_no_pandas(self):
        """What `validate` imports decides how fast it starts."""
        import subprocess
        import sys

        code = (
            "import sys; from dfdc_kit.submission import validate, expected_rows;"
            "from dfdc_kit.data import solution;"
            "print([name for name in ('pandas', 'sklearn', 'scipy', 'torch', 'psutil') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_missing_file_is_named_and_nothing_else(self, dfdc):
        done = dfdc("validate", "nosuch.csv")
        assert (done.returncode, done.stdout) == (2, "")
        assert "File or folder not found: nosuch.csv" in done.stderr
        assert "folder" not in done.stderr.replace("File or folder not found", "")

    def test_five_examples_are_shown_and_all_with_all_and_json(self, dfdc, tmp_path):
        rows = "".join(f"{i}.mp4,{2 + i if i < 73 else i / 100}\n" for i in range(80))
        (tmp_path / "s.csv").write_text("filename,label\n" + rows + "3,4,5\n" * 9)
        few = dfdc("validate", "s.csv").stdout
        assert ("line 6: " in few, "line 7: " in few) == (True, False)
        assert "and 68 more" in few
        assert "and 4 more" in few
        every = dfdc("validate", "s.csv", "--all").stdout
        assert "line 74: 72.mp4: seen 74" in every
        assert "more (" not in every
        found = json.loads(dfdc("validate", "s.csv", "--json").stdout)["violations"]
        assert {one["code"]: len(one["examples"]) for one in found} == {"row-width": 9, "label-out-of-range": 73}

    def test_duplicates_say_whether_their_labels_differ(self, dfdc, tmp_path):
        (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.1\nb.mp4,0.3\na.mp4,0.2\nb.mp4,0.3\n")
        said = dfdc("validate", "s.csv").stdout
        assert "2 rows with the filename of an earlier row, 1 of them with another label" in said
        assert "line 4: seen a.mp4, expected once; line 2 has it already, with label 0.1 instead of 0.2" in said
        assert "line 5: seen b.mp4, expected once; line 3 has it already, with the same label" in said
        (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.1\na.mp4,0.1\n")
        assert "1 row with the filename of an earlier row, all with the same label" in dfdc("validate", "s.csv").stdout
