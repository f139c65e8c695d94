"""The board: one row a team, parts kept apart, the same bytes whatever judged; and what a site holds."""

import json
import re
import shutil

import numpy as np
import pytest

from dfdc_kit.competition.board import make_board, read_judged
from dfdc_kit.competition.predictions import with_originals
from dfdc_kit.competition.results import comparable, load_results
from dfdc_kit.competition.rules import load
from dfdc_kit.competition.site import to_csv, write_site
from dfdc_kit.data.solution import read_solution
from dfdc_kit.errors import DataError, MetricError, UsageError
from dfdc_kit.files import to_json
from dfdc_kit.scoring.metric import displayed, load_metric


def judged_of(judging, name="dfdc"):
    rules, challenge = load(str(name))
    results = comparable(load_results(judging.folder))
    solution = read_solution(judging.solution, challenge)
    return read_judged(rules, challenge, judging.folder, results, solution, load_metric(challenge.metric_path))


def board_of(judging, part="public", name="dfdc"):
    return make_board(judged_of(judging, name), part, resamples=200)


def loss(truth, predicted):
    p = np.clip(predicted, 1e-15, 1 - 1e-15)
    return float(-np.log(np.where(truth == 1, p, 1 - p)).mean())


def rules_with(tmp_path, text, old="[scores]"):
    from dfdc_kit.competition import rules

    path = tmp_path / "mine.toml"
    path.write_text((rules.FOLDER / "dfdc.toml").read_text().replace(old, text, 1))
    return path


def test_board_ranks_teams_by_the_rows_of_its_part(judging, tmp_path):
    rows = {team: judging.predictions(skill, seed) for seed, (team, skill) in enumerate([("A", 1.5), ("B", 0.5)])}
    for team, values in rows.items():
        judging.add(team, values)
    usage = np.array([line.split(",")[2] for line in judging.solution.read_text().split()[1:]])
    for part in ("public", "private"):
        board = board_of(judging, part)
        chosen = usage == part.capitalize()
        assert [row.team for row in board.rows] == ["A", "B"]
        for row in board.rows:
            assert float(row.score) == pytest.approx(loss(judging.truth[chosen], rows[row.team][chosen]), abs=1e-5)
        assert board.videos == chosen.sum()
        assert board.rows[0].p_first == 1
        assert board.rows[0].tied_to == 1


def test_board_without_any_score_has_its_rows_also_where_originals_are_known(judging, dfdc):
    judging.add("A", None)
    lines = judging.solution.read_text().split()
    judging.solution.write_text("\n".join([lines[0] + ",original", *(f"{line},o.mp4" for line in lines[1:])]) + "\n")
    done = dfdc("competition", "board", "dfdc", "--judging", judging.folder, "-s", judging.solution, "--private")
    assert done.returncode == 0, done.stderr
    assert "No team has a score." in done.stdout


def test_board_with_another_data_sets_solution_is_refused(judging, dfdc):
    judging.add("A", judging.predictions(1.0, 1))
    judging.solution.write_text("filename,label,Usage\nx.mp4,0,Public\ny.mp4,1,Private\n")
    done = dfdc("competition", "board", "dfdc", "--judging", judging.folder, "-s", judging.solution)
    assert (done.returncode, "None of the judged submissions fits" in done.stderr) == (3, True)


def test_board_and_score_command_give_the_same_interval(judging, dfdc):
    judging.add("A", judging.predictions(1.0, 1))
    judging.add("B", judging.predictions(0.5, 1))
    row = make_board(judged_of(judging), "public", resamples=2000).rows[0]
    lines = judging.solution.read_text().split()
    public = [line for line in lines if not line.endswith("Private")]
    (judging.folder / "public.csv").write_text("\n".join(public) + "\n")
    names = {line.split(",")[0] for line in public}
    rows = (judging.folder / "results" / "a-a" / "predictions.csv").read_text().split()
    (judging.folder / "a.csv").write_text("\n".join(row for row in rows if row.split(",")[0] in names) + "\n")
    done = dfdc("score", judging.folder / "a.csv", judging.folder / "public.csv", "--json")
    found = json.loads(done.stdout)["score"]
    shown = [displayed(found["uncertainty"]["interval"][end]) for end in ("low", "high")]
    assert [row.score, row.score_low, row.score_high] == [found["displayed"], *shown]


def test_order_of_the_rows_in_predictions_does_not_matter(judging):
    judging.add("A", judging.predictions(1.0, 1))
    before = to_json(board_of(judging))
    file = judging.folder / "results" / "a-a" / "predictions.csv"
    header, *lines = file.read_text().splitlines()
    file.write_text("\n".join([header, *sorted(lines, key=lambda line: line[::-1])]) + "\n")
    assert to_json(board_of(judging)) == before


def test_private_board_takes_the_finals_by_rule_and_the_public_one_the_best(judging, tmp_path):
    good, bad = judging.predictions(1.5, 1), judging.predictions(0.2, 2)
    for i, values in enumerate((good, bad, bad)):
        judging.add("A", values, f"v{i}", submitted_at=f"2020-01-0{i + 1}")
    last = rules_with(tmp_path, 'rule = "last"', 'rule = "chosen"')
    assert board_of(judging, "public", last).rows[0].submission == "v0"
    assert board_of(judging, "private", last).rows[0].submission in ("v1", "v2")
    assert board_of(judging, "private").rows[0].submission == "v0"  # no choice made: the best public ones
    chosen = rules_with(tmp_path, 'rule = "chosen"\nchosen = {A = ["v2"]}', 'rule = "chosen"')
    assert board_of(judging, "private", chosen).rows[0].submission == "v2"
    assert board_of(judging).rows[0].submissions == 3


def test_baselines_and_disqualified_teams_have_a_row_without_a_rank(judging, tmp_path):
    judging.add("A", judging.predictions(1.0, 1))
    judging.add("Cheat", judging.predictions(3.0, 2))
    judging.add("Host", np.full(len(judging.ids), 0.5), "constant")
    judging.add("Broken", None)
    text = '[[disqualified]]\nteam = "Cheat"\nreason = "used the public test"\n\n[scores]'
    board = board_of(judging, "public", rules_with(tmp_path, text))
    found = {row.team: row for row in board.rows}
    assert {team: row.status for team, row in found.items()} == {
        "A": "ranked",
        "Cheat": "disqualified",
        "Host": "baseline",
        "Broken": "not scored",
    }
    assert found["A"].rank == 1
    assert [row.rank for row in board.rows] == [1, None, None, None]
    assert found["Cheat"].reason == "used the public test"
    assert found["Host"].score == "0.69314"
    assert found["Broken"].reason == "ValueError: no frames (main.py, line 3)"
    assert board.teams == 1


def test_board_is_the_same_bytes_whatever_machine_and_engine_judged(tmp_path, judging):
    other = type(judging)(tmp_path / "other", judging.solution, judging.ids, judging.truth)
    for i in range(4):
        values = judging.predictions(1.0 + i / 10, i)
        judging.add(f"T{i}", values)
        other.add(f"T{i}", values, machine="host-b", engine="slurm", wall_time_s=99.0, peak_memory_bytes=1, folder="/x")
    sites = []
    for one in (judging, other):
        judged = judged_of(one)
        for part in ("public", "private"):
            write_site(tmp_path / one.folder.name / "site", make_board(judged, part), judged.rules, judged, one.folder)
        sites.append(tmp_path / one.folder.name / "site")
    files = sorted(path.relative_to(sites[0]) for path in sites[0].rglob("*") if path.is_file())
    assert len(files) == 2 * (4 + 4)
    for file in files:
        assert (sites[0] / file).read_bytes() == (sites[1] / file).read_bytes(), file


def test_public_outputs_hold_no_private_score(judging, tmp_path):
    for i in range(5):
        judging.add(f"T{i}", judging.predictions(1.0 + i / 10, i), report="report.html")
    judged = judged_of(judging)
    public, private = make_board(judged, "public"), make_board(judged, "private")
    secrets = {row.score for row in private.rows} | {row.score_low for row in private.rows}
    total = judged.predictions.scores()
    secrets |= {f"{value:.5f}" for value in total} | {row.score_high for row in private.rows} | {"report of"}
    write_site(tmp_path / "site", public, judged.rules, judged, judging.folder)
    write_site(tmp_path / "site", private, judged.rules, judged, judging.folder)
    outputs = [path.read_text() for path in (tmp_path / "site" / "public").rglob("*") if path.is_file()]
    outputs += [to_csv(public).decode(), to_json(public).decode()]
    assert any(row.score in outputs[-1] for row in public.rows)
    for secret in secrets:
        assert not [text for text in outputs if secret in text], secret
    assert "report of T1" in (tmp_path / "site/private/submissions/t1-t1.html").read_text()


def test_public_board_does_not_depend_on_private_labels(judging):
    for i in range(5):
        judging.add(f"T{i}", judging.predictions(1.0 + i / 10, i))
    before, private = to_json(board_of(judging)), to_json(board_of(judging, "private"))
    swap = {"0,Private": "1,Private", "1,Private": "0,Private"}
    text = re.sub("[01],Private", lambda found: swap[found[0]], judging.solution.read_text())
    judging.solution.write_text(text)
    assert to_json(board_of(judging)) == before
    assert to_json(board_of(judging, "private")) != private


def test_every_link_of_the_site_exists_and_names_are_escaped(judging, tmp_path):
    judging.add("<script>alert(1)</script>", judging.predictions(1, 1), "=cmd()")
    judging.add("Broken", None)
    judged = judged_of(judging)
    index = write_site(tmp_path, make_board(judged, "public"), judged.rules, judged, judging.folder)
    text = index.read_text()
    assert "<script>alert" not in text
    assert "'=cmd()" in (index.parent / "board.csv").read_text()
    links = re.findall(r'href="([^"]+)"', text)
    assert len(links) == 4
    assert all((index.parent / link).is_file() for link in links)
    assert "http" not in text.replace("http-equiv", "")


def test_site_drops_pages_of_removed_submissions_and_nothing_else(judging, tmp_path):
    for team in ("Stays", "Goes"):
        judging.add(team, judging.predictions(1, 1))
    judged = judged_of(judging)
    site = write_site(tmp_path, make_board(judged, "public"), judged.rules, judged, judging.folder).parent
    (site / "submissions" / "notes.html").write_text("of the organizers")
    (tmp_path / "outside.txt").write_text("of the organizers")
    with (site / "files.txt").open("a") as file:
        file.write("../outside.txt\n")
    shutil.rmtree(judging.folder / "results" / "goes-goes")
    judged = judged_of(judging)
    write_site(tmp_path, make_board(judged, "public"), judged.rules, judged, judging.folder)
    assert {path.name for path in site.glob("submissions/*")} == {"stays-stays.html", "notes.html"}
    assert (tmp_path / "outside.txt").is_file()


@pytest.mark.parametrize("count", [0, 1])
def test_board_of_few_teams_says_that_nobody_can_be_compared(judging, count, tmp_path):
    for i in range(count):
        judging.add(f"T{i}", judging.predictions(1, 1))
    judging.add("Broken", None)
    board = board_of(judging)
    assert board.teams == count
    assert board.notes[0] == (
        "No team has a score." if count == 0 else "Only one team has a score: there is nobody to compare it with."
    )
    judged = judged_of(judging)
    assert write_site(tmp_path, board, judged.rules, judged, judging.folder).is_file()


def test_identical_predictions_everywhere_tie_and_are_evidence(judging, tmp_path):
    for i in range(7):
        judging.add(f"T{i}", np.full(len(judging.ids), 0.5), submitted_at=None)
    board = board_of(judging, "private")
    assert {(row.rank, row.rank_low, row.rank_high, row.tied_from) for row in board.rows} == {(1, 1, 7, 1)}
    assert board.notes[0] == "All teams have the same score: nothing can be ranked."
    assert [found.evidence for found in board.similar] == ["the same predictions, byte for byte"]
    assert board_of(judging, "public").similar == []


def test_board_of_few_videos_says_that_nothing_can_be_ranked(competition_folder, tmp_path):
    few = competition_folder(tmp_path, 60)
    for i in range(2):
        few.add(f"T{i}", few.predictions(1, i))
    assert any(note.startswith("Too few to rank anything: ") for note in board_of(few).notes)
    (tmp_path / "many").mkdir()
    many = competition_folder(tmp_path / "many", 1000)
    for i in range(2):
        many.add(f"T{i}", many.predictions(1, i))
    assert not any("Too few" in note for note in board_of(many).notes)


def test_ladder_shows_the_last_real_gain_only_on_the_public_board(judging, tmp_path):
    base = judging.predictions(1.0, 1)
    judging.add("A", base, "v1", submitted_at="2020-01-01")
    judging.add(
        "A", np.where(judging.truth == 1, base + (1 - base) * 0.01, base * 0.99), "v2", submitted_at="2020-01-02"
    )
    path = rules_with(tmp_path, "[scores]\nladder_step = 0.01")
    assert board_of(judging, "public", path).rows[0].submission == "v1"
    assert re.fullmatch(r"\d\.\d\d000", board_of(judging, "public", path).rows[0].score)
    assert board_of(judging, "private", path).rows[0].submission == "v2"
    assert board_of(judging, "public").rows[0].submission == "v2"


def test_private_board_names_teams_that_submitted_more_than_the_quota(judging):
    for i in range(3):
        values = judging.predictions(1, i) if i else None  # failed ones count by these rules
        judging.add("A", values, f"v{i}", submitted_at=f"2020-01-01T0{i}:00:00+00:00")
        judging.add("B", judging.predictions(1, i), f"v{i}", submitted_at=f"2020-01-0{i + 1}T00:00:00+00:00")
    notes = [note for note in board_of(judging, "private").notes if "the rules allow" in note]
    assert notes == ["A made 3 submissions on 2020-01-01; the rules allow 2 a day."]
    assert not [note for note in board_of(judging).notes if "the rules allow" in note]


def test_earlier_of_equal_scores_is_ahead_in_any_time_zone(judging):
    times = {"late": "2020-01-01T00:30:00+00:00", "early": "2020-01-01T01:00:00+02:00", "unknown": "yesterday"}
    for team, time in times.items():
        judging.add(team, judging.predictions(1, 1), submitted_at=time)
    board = board_of(judging)
    assert {row.team: row.rank for row in board.rows} == {"early": 1, "late": 2, "unknown": 3}
    assert "Some times of submission are not known: equal scores without one come last." in board.notes


def test_results_of_different_data_or_profiles_are_not_compared(judging):
    judging.add("A", judging.predictions(1, 1))
    judging.add("B", judging.predictions(1, 2), data_digest="e" * 64)
    with pytest.raises(DataError, match="2 versions of the data"):
        board_of(judging)
    judging.add("C", judging.predictions(1, 2), profile="unlimited")
    with pytest.raises(UsageError, match="2 runtime profiles"):
        board_of(judging)
    assert len(comparable(load_results(judging.folder), "unlimited")) == 1


def test_predictions_of_other_rows_leave_the_team_without_a_score(judging):
    judging.add("A", judging.predictions(1, 1))
    judging.add("B", judging.predictions(1, 2))
    file = judging.folder / "results" / "b-b" / "predictions.csv"
    file.write_text(file.read_text().replace("00000.mp4", "other.mp4"))
    found = {row.team: row for row in board_of(judging).rows}
    assert found["B"].status == "not scored"
    assert found["B"].reason.startswith("invalid predictions: ")


def test_originals_widen_the_intervals_when_their_videos_are_alike(judging, tmp_path):
    rules, challenge = load("dfdc")
    names = {name: {"label": "FAKE", "original": f"o{i // 20}.mp4"} for i, name in enumerate(judging.ids)}
    (tmp_path / "metadata.json").write_text(json.dumps(names))
    block = np.repeat(np.random.default_rng(0).uniform(0.2, 0.95, len(judging.ids) // 20), 20)  # alike within originals
    judging.add("A", np.where(judging.truth == 1, block, 1 - block))
    plain = read_solution(judging.solution, challenge)
    clustered = with_originals(plain, tmp_path / "metadata.json", challenge)
    metric, results = load_metric(challenge.metric_path), load_results(judging.folder)
    boards = [
        make_board(read_judged(rules, challenge, judging.folder, results, solution, metric), "private")
        for solution in (plain, clustered)
    ]
    widths = [float(board.rows[0].score_high) - float(board.rows[0].score_low) for board in boards]
    assert widths[1] > 2 * widths[0]
    assert [board.originals for board in boards] == [None, 20]


def test_labels_without_with_originals_these_videos_are_refused(judging, tmp_path):
    _, challenge = load("dfdc")
    (tmp_path / "metadata.json").write_text('{"other.mp4": {"label": "FAKE", "original": "o.mp4"}}')
    with pytest.raises(DataError, match="names no original of these 400 videos"):
        with_originals(read_solution(judging.solution, challenge), tmp_path / "metadata.json", challenge)


def test_board_of_the_preview_challenge_uses_its_metric(tmp_path, competition_folder):
    judging = competition_folder(tmp_path, rows=120, header=("video", "fake_probability"), usage=False)
    judging.add("Weak", judging.predictions(0.2, 1), profile="kaggle-today-gpu")
    judging.add("Perfect", judging.truth * 0.9, profile="kaggle-today-gpu")
    board = make_board(judged_of(judging, "dfdc-preview"), "private", resamples=100)
    assert [(row.team, row.rank) for row in board.rows] == [("Perfect", 1), ("Weak", 2)]
    assert float(board.rows[0].score) == 0
    assert board.rows[0].p_first == 1
    assert any("no column Usage" in note for note in board.notes)


def test_metric_that_fails_on_a_part_is_named_and_not_a_traceback(tmp_path, competition_folder):
    judging = competition_folder(tmp_path, rows=20, header=("video", "fake_probability"))
    text = judging.solution.read_text()
    judging.solution.write_text(re.sub(",[01],Public", ",0,Public", text))
    judging.add("A", judging.predictions(1, 1))
    with pytest.raises(MetricError, match=r"weighted_precision.py failed on \d+ rows: ValueError: the solution has no"):
        make_board(judged_of(judging, "dfdc-preview"), "public", resamples=100)


def test_command_prints_the_board_within_80_columns_and_writes_both_sites(judging, dfdc, terminal, tmp_path):
    for i in range(3):
        judging.add(f"Team with quite a long name {i}", judging.predictions(1.0 + i, i), "detector")
    options = ("--judging", judging.folder, "--solution", judging.solution, "--resamples", 100)
    done = dfdc("competition", "board", "dfdc", *options, "--private", "--site", "site", "--csv", "b.csv")
    assert done.returncode == 0, done.stderr
    assert "Team with quite a long name 1: detector 0.1" in done.stdout  # on one line where it is piped
    lines = terminal("competition", "board", "dfdc", *options, "--private")
    assert any("Team with quite a" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert (tmp_path / "site/public/index.html").is_file()
    assert (tmp_path / "site/private/index.html").is_file()


def test_command_refuses_results_of_another_metric(judging, dfdc):
    judging.add("A", judging.predictions(1.0, 1), metric_digest="m" * 64)
    done = dfdc("competition", "board", "dfdc", "--judging", judging.folder, "--solution", judging.solution)
    assert done.returncode == 3
    assert "another metric than evaluate.py" in done.stderr


def test_command_shows_the_public_board_when_not_asked_for_the_private_one(judging, dfdc):
    judging.add("A", judging.predictions(1.0, 1))
    options = ("--judging", judging.folder, "--solution", judging.solution, "--resamples", 100)
    shown = dfdc("competition", "board", "dfdc", *options, "--json")
    assert json.loads(shown.stdout)["part"] == "public"
