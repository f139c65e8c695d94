"""Keys depend on everything that a result depends on; lists of submissions are read strictly."""

import shutil

import pytest

from dfdc_kit import profiles
from dfdc_kit.competition.plan import code_digest, list_submissions, load_plan, read_confined
from dfdc_kit.competition.rules import judging_rules
from dfdc_kit.errors import DataError, UsageError


def keys(plan) -> dict[str, str]:
    return {one.name: one.key for one in plan.submissions}


def test_plan_is_the_same_when_nothing_changed_and_is_read_back(submissions, planned):
    folder = submissions(a=True, b=True)
    judging, plan = planned(folder)
    assert planned(folder)[1] == plan == load_plan(judging)
    assert len(set(keys(plan).values())) == 2  # the same code of two teams


def test_key_changes_with_the_code_alone(submissions, planned):
    before = keys(planned(submissions(a=True, b=True))[1])
    after = keys(planned(submissions(b="print(1)"))[1])
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]


def test_key_changes_with_the_profile(submissions, planned, tmp_path):
    folder = submissions(a=True)
    _, first = planned(folder)
    profile = profiles.load("kaggle-2020-cpu")
    _, second = planned(folder, judging=tmp_path / "other", profile_name="kaggle-2020-cpu", profile=profile)
    assert keys(first) != keys(second)
    with pytest.raises(UsageError, match="another profile, which cannot be ranked"):
        planned(folder, profile_name="kaggle-2020-cpu", profile=profile)


def test_plan_refuses_a_judging_folder_of_other_data(submissions, planned, tmp_path, sample):
    folder = submissions(a=True)
    planned(folder)
    other = tmp_path / "data"
    shutil.copytree(sample, other)
    planned(folder, data=other)  # the same data in another place
    video = next((other / "test_videos").glob("*.mp4"))
    video.write_bytes(video.read_bytes() + b"x")
    with pytest.raises(UsageError, match="results of another data"):
        planned(folder, data=other)


def test_folder_that_is_no_submission_has_a_digest_that_changes_with_its_content(submissions):
    folder = submissions(a="") / "a"
    (folder / "submission.toml").write_text("broken")
    (folder / "away").symlink_to("/etc/passwd")
    first = code_digest(folder, {})
    assert code_digest(folder, {}) == first
    (folder / "main.py").write_text("print(1)")
    assert code_digest(folder, {}) != first


def test_attached_folder_outside_the_submission_counts_only_if_the_organizer_names_it(submissions, tmp_path):
    folder = submissions(a=True) / "a"
    secret = tmp_path / "secret"
    secret.mkdir()
    (folder / "weights").mkdir()
    (folder / "submission.toml").write_text(
        f'name = "a"\nentry_point = "main.py"\n[[inputs]]\nslug = "x/labels"\npath = "{secret}"\n'
        '[[inputs]]\nslug = "x/weights"\npath = "weights"\n'
    )
    labels, weights = read_confined(folder, {}).settings.inputs
    assert labels.folder(folder) is None
    assert weights.folder(folder) == folder / "weights"
    labels, _ = read_confined(folder, {"x/labels": secret}).settings.inputs
    assert labels.folder(folder) == secret


def test_folder_lists_each_sub_folder_and_notebook_by_name(submissions):
    folder = submissions(b=True, **{"a-0.5": True, ".hidden": True})
    (folder / "c.ipynb").write_text("{}")
    (folder / "README.md").write_text("")
    assert [one.name for one in list_submissions(folder)] == ["a-0.5", "b", "c"]


def test_list_gives_team_name_date_and_baseline(submissions, tmp_path):
    folder = submissions(a=True, b=True)
    path = tmp_path / "list.csv"
    path.write_text(
        "team,name,folder,submitted_at,baseline\nA,first,submissions/a,2026-11-01T12:00:00Z,\nB,x,submissions/b,,yes\n"
    )
    first, second = list_submissions(path)
    assert (first.team, first.name, first.folder, first.submitted_at) == (
        "A",
        "first",
        folder / "a",
        "2026-11-01T12:00:00Z",
    )
    assert second.baseline
    assert not first.baseline


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("team,folder\nA,submissions/a\n", "the header is team, folder"),
        ("team,name,folder,teem\nA,a,submissions/a,1\n", "the header is"),
        ("", "the header is nothing"),
        ("team,name,folder\nA,,submissions/a\n", "line 2: no value for name"),
        ("team,name,folder\nA,a,submissions/a,more\n", "line 2: more values than columns"),
        ("team,name,folder,submitted_at\nA,a,submissions/a,1.4.2020\n", "line 2: submitted_at: seen '1.4.2020'"),
        ("team,name,folder,baseline\nA,a,submissions/a,maybe\n", "line 2: baseline: seen 'maybe'"),
        ("team,name,folder\nA,a,nowhere\nB,,submissions/a\n", "(?s)line 2: .*line 3: no value for name"),
        ("team,name,folder\nA,a,nowhere\n", "line 2: folder not found"),
        ("team,name,folder\nA,a,submissions/a\nA,a,submissions/a\n", "twice: A / a"),
        ('team,name,folder\n"A\nB",a,submissions/a\n', "control character"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_list_with_a_fault_is_refused_with_its_place(submissions, tmp_path, text, expected):
    submissions(a=True)
    path = tmp_path / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=expected):
        list_submissions(path)


def test_empty_folder_and_missing_folder_are_wrong_usage(tmp_path):
    for path, expected in ((tmp_path, "contains no submission"), (tmp_path / "nowhere", "not found")):
        with pytest.raises(UsageError, match=expected):
            list_submissions(path)


def test_competition_chooses_challenge_and_profile_of_the_phase():
    rules = judging_rules("dfdc", "public", "")
    assert rules.challenge.slug == "deepfake-detection-challenge"
    assert judging_rules("dfdc", "public", "unlimited").profile_name == "unlimited"
    with pytest.raises(UsageError, match="no phase of the kind 'semifinal'"):
        judging_rules("dfdc", "semifinal", "")


def test_solution_that_does_not_fit_the_data_is_refused_before_anything_is_judged(submissions, planned, tmp_path):
    sample_submission = tmp_path / "sample.csv"
    sample_submission.write_text("filename,label\na.mp4,0\nb.mp4,0\n")
    other = tmp_path / "other.csv"
    other.write_text("filename,label\na.mp4,0\nb.mp4,1\n")
    for path, expected in ((sample_submission, "is a sample submission"), (other, "another data set's solution")):
        with pytest.raises(DataError, match=expected):
            planned(submissions(a=True), solution=path)
    assert not (tmp_path / "judging" / "plan.json").exists()
