"""What makes a folder a code submission, and which files belong to it."""

import os
import socket

import pytest

from dfdc_kit import challenge, profiles
from dfdc_kit.errors import OutputError, SubmissionError, UsageError
from dfdc_kit.submission.code import baselines, read_code_submission, start


@pytest.fixture
def folder(code_submission):
    return code_submission("pass")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('name = "x"\nentry = "main.py"', "Did you mean 'entry_point'?"),
        ("name = 3", "Expected `str`"),
        ('name = "x', ""),
        ('name = "x"\nentry_point = "../main.py"', "outside the submission's folder"),
        ('name = "x"\nentry_point = "other.py"', "entry point other.py is missing"),
        ('name = "x"\nentry_point = "submission.toml"', "neither a Python program"),
        ("\udcff", ""),
    ],
    ids=["unknown-key", "wrong-type", "not-toml", "outside", "missing", "not-python", "not-utf-8"],
)
def test_a_faulty_settings_file_is_the_submissions_fault(folder, settings, message):
    (folder / "submission.toml").write_text(settings, errors="surrogateescape")
    with pytest.raises(SubmissionError) as caught:
        read_code_submission(folder)
    assert message in f"{caught.value} {caught.value.hint}"


def test_a_byte_order_mark_before_settings_is_no_fault(folder, tmp_path):
    """Editors on Windows write one: before a submission's settings, a profile, a challenge."""
    for source, target in (
        (folder / "submission.toml", folder / "submission.toml"),
        (profiles.FOLDER / "kaggle-2020-cpu.toml", tmp_path / "mine.toml"),
        (challenge.FOLDER / "dfdc.toml", tmp_path / "other.toml"),
    ):
        target.write_text(source.read_text("utf-8"), "utf-8-sig")
    assert read_code_submission(folder).settings.name == "trial"
    assert profiles.load(str(tmp_path / "mine.toml")) == profiles.load("kaggle-2020-cpu")
    assert challenge.load(str(tmp_path / "other.toml")) == challenge.load(challenge.BUNDLED)


def test_a_submission_without_settings_takes_the_folders_name(folder):
    (folder / "submission.toml").unlink()
    assert read_code_submission(folder).name == "trial"


def test_only_program_of_a_folder_is_its_entry_point(folder):
    (folder / "submission.toml").unlink()
    (folder / "main.py").rename(folder / "my predict.py")
    assert read_code_submission(folder).program == "my predict.py"


def test_folder_with_several_programs_and_no_main_lists_them(folder):
    (folder / "main.py").rename(folder / "predict.py")
    (folder / "train.ipynb").write_text("{}")
    with pytest.raises(SubmissionError, match=r"Candidates: predict\.py, train\.ipynb") as caught:
        read_code_submission(folder)
    assert "entry_point" in caught.value.hint


def test_hint_names_the_program_that_is_meant_to_be_started(folder):
    (folder / "main.py").rename(folder / "kernel_utils.py")
    (folder / "predict_folder.py").write_text("if __name__ == '__main__':\n    pass\n")
    with pytest.raises(SubmissionError) as caught:
        read_code_submission(folder)
    assert 'entry_point = "predict_folder.py ARGUMENTS"' in caught.value.hint


def test_programs_in_subfolders_are_candidates_of_a_folder_without_programs(folder):
    (folder / "src").mkdir()
    (folder / "main.py").rename(folder / "src" / "main.py")
    with pytest.raises(SubmissionError, match=r"Candidates: src/main\.py"):
        read_code_submission(folder)


def test_folder_without_a_program_is_refused(folder):
    (folder / "main.py").unlink()
    with pytest.raises(SubmissionError, match=r"contains no program"):
        read_code_submission(folder)


def test_entry_point_may_carry_arguments(folder):
    (folder / "submission.toml").write_text('name = "x"\nentry_point = "main.py --out \'a b\' -n 3"\n')
    submission = read_code_submission(folder)
    assert (submission.program, submission.arguments) == ("main.py", ["--out", "a b", "-n", "3"])


@pytest.mark.parametrize("entry", ["/etc/hosts.py", "../main.py", "runs/main.py", "ABSOLUTE"])
def test_an_entry_point_lies_in_the_folder(folder, entry):
    (folder / "runs").mkdir()
    for place in (folder / "runs" / "main.py", folder.parent / "main.py"):
        place.write_text("pass")
    entry = str(folder / "main.py") if entry == "ABSOLUTE" else entry
    (folder / "submission.toml").write_text(f'name = "x"\nentry_point = "{entry}"\n')
    with pytest.raises(SubmissionError, match=r"is outside|left out"):
        read_code_submission(folder)


def test_caches_and_old_runs_do_not_belong_to_it(folder):
    before = read_code_submission(folder).sha256()
    for place in ("__pycache__", ".git", "runs"):
        (folder / place).mkdir()
        (folder / place / "x").write_text("x")
    assert read_code_submission(folder).sha256() == before
    (folder / "main.py").write_text("pass  # changed")
    assert read_code_submission(folder).sha256() != before


@pytest.mark.parametrize("name", ["help.csv", "deep/help.csv", "folder", "runs-again", "gone", "alone.py"])
def test_a_link_out_of_the_folder_is_refused(folder, tmp_path, name):
    """Its author would be handed the labels, or what the harness knows."""
    (tmp_path / "solution.csv").write_text("labels")
    (folder / "runs").mkdir()
    (folder / "deep").mkdir()
    where = {"folder": tmp_path, "runs-again": folder / "runs", "gone": tmp_path / "missing"}
    (folder / name).symlink_to(where.get(name, tmp_path / "solution.csv"))
    with pytest.raises(SubmissionError, match=name) as caught:
        read_code_submission(folder / name if name == "alone.py" else folder).files()
    assert str(where.get(name, tmp_path / "solution.csv")) in str(caught.value)
    assert "cp -rL" in (caught.value.hint or "")


def test_links_within_the_folder_are_followed_once(folder):
    """Twelve folders that link to each other: as many ways through them as orders of twelve."""
    names = [f"f{i}" for i in range(12)]
    for name in names:
        (folder / name).mkdir()
        (folder / name / "w").write_text(name)
        for other in names:
            (folder / name / f"to-{other}").symlink_to(folder / other)
    (folder / "again.py").symlink_to("main.py")
    (folder / ".#main.py").symlink_to("me@here.123")
    found = [path.relative_to(folder).as_posix() for path in read_code_submission(folder).files()]
    assert {"again.py", "main.py", "f0/w", "f11/w"} <= set(found)
    assert len(found) < 100


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_only_files_are_taken(folder, kind, monkeypatch):
    monkeypatch.chdir(folder)
    if kind == "pipe":
        os.mkfifo(kind)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(kind)
    with pytest.raises(SubmissionError, match=f"{kind} is neither a file nor a folder"):
        read_code_submission(folder).files()


@pytest.mark.parametrize("baseline", ["", *baselines()])
def test_new_writes_what_it_copies_under_a_name_of_its_own(tmp_path, baseline):
    written = start(tmp_path / "my-detector", baseline)
    assert {"submission.toml", "main.py"} <= set(written)
    assert "expected.json" not in written
    assert read_code_submission(tmp_path / "my-detector").settings.name == "my-detector"
    assert [path.name for path in tmp_path.iterdir()] == ["my-detector"]


def test_new_never_overwrites(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UsageError):
        start(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"


def test_new_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        start(tmp_path / "file" / "x")


def test_new_runs_at_once(dfdc, tmp_path):
    assert dfdc("new", "my-detector").returncode == 0
    done = dfdc("run", "my-detector")
    assert done.returncode == 0, done.stderr
    assert "0.69314" in done.stdout
