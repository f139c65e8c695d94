"""`dfdc leaderboard`: fetched with the real client and saved; else the saved copy or the final board."""

import json
from pathlib import Path

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import UsageError
from dfdc_kit.kaggle import leaderboard
from dfdc_kit.kaggle.client import connect
from dfdc_kit.kaggle.leaderboard import Board, LeaderboardRow, board, final_board, place
from dfdc_kit.kaggle.retry import RetryPolicy

CHALLENGE = challenges.load()
SAVED = Path(__file__).parents[1] / "cases" / "reports" / "schema-4-complete.json"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dfdc"


@pytest.fixture
def ask(kaggle_server, cache):
    def call(**options):
        return board(CHALLENGE, lambda: connect(retry=RetryPolicy(sleep=lambda _: None), timeout_s=2), **options)

    return call


def teams(count: int) -> list[dict[str, object]]:
    return [
        {
            "teamId": at,
            "teamName": f"team {at}",
            "submissionDate": "2020-03-30T10:00:00Z",
            "score": f"{0.2 + at / 1e4:.5f}",
        }
        for at in range(count)
    ]


def test_leaderboard_reads_every_page_and_saves_a_copy(ask, kaggle_server, cache):
    kaggle_server.world.leaderboard = teams(450)
    seen = ask()
    assert (seen.fresh, seen.note) == (True, "")
    assert [row.place for row in seen.board.rows] == list(range(1, 451))
    assert seen.board.rows[-1].team == "team 449"
    assert seen.board.teams == (450, 450)
    assert len(kaggle_server.calls("GetLeaderboard")) == 3
    again = ask(offline=True)
    assert (again.fresh, again.board) == (False, seen.board)
    assert [path.name for path in cache.iterdir()] == [f"leaderboard-{CHALLENGE.slug}.json"]


def test_leaderboard_leaves_the_data_archive_alone(ask, kaggle_server, tmp_path, monkeypatch):
    """The client's own download writes <competition>.zip, into the folder it is given."""
    monkeypatch.chdir(tmp_path)
    bundle = tmp_path / f"{CHALLENGE.slug}.zip"
    bundle.write_bytes(b"4 GB of videos")
    kaggle_server.world.leaderboard = teams(3)
    ask()
    assert bundle.read_bytes() == b"4 GB of videos"
    assert kaggle_server.calls("DownloadLeaderboard") == []


def test_leaderboard_falls_back_to_the_saved_copy_when_a_page_fails(ask, kaggle_server):
    kaggle_server.world.leaderboard = teams(3)
    first = ask().board
    kaggle_server.world.leaderboard = teams(450)
    kaggle_server.fault("status", at="GetLeaderboard", status=500, skip=1, times=-1)
    seen = ask()
    assert (seen.fresh, seen.board) == (False, first)
    assert seen.note.startswith("no fresh leaderboard: Kaggle server error (500)")


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 404}, {"kind": "reset"}, {"kind": "status", "status": 401}]
)
def test_leaderboard_falls_back_to_the_final_board(ask, kaggle_server, fault):
    kaggle_server.fault(at="GetLeaderboard", times=-1, **fault)
    seen = ask()
    assert seen.board == final_board()
    assert seen.note.startswith("no fresh leaderboard: ")


def test_leaderboard_reports_no_rows_and_invalid_scores(ask, kaggle_server):
    assert "shows no rows" in ask().note
    kaggle_server.world.leaderboard = [{**teams(1)[0], "score": "n/a"}]
    assert "has the score 'n/a'" in ask().note


def test_unreadable_saved_leaderboard_is_reported(ask, kaggle_server, cache):
    cache.mkdir(parents=True)
    (cache / f"leaderboard-{CHALLENGE.slug}.json").write_text("{")
    seen = ask(offline=True)
    assert seen.board == final_board()
    assert "Cannot read" in seen.note


def test_unwritable_cache_is_reported(ask, kaggle_server, cache):
    cache.parent.write_text("a file")
    kaggle_server.world.leaderboard = teams(3)
    seen = ask()
    assert (seen.fresh, len(seen.board.rows)) == (True, 3)
    assert seen.note.startswith("not saved: Cannot write")


def test_final_board_gives_the_evidence_of_each_row():
    final = final_board()
    assert [row.place for row in final.rows][:10] == list(range(1, 11))
    assert {row.evidence for row in final.rows} == {"confirmed by the team", "reported"}
    assert [row.score for row in final.rows] == sorted(row.score for row in final.rows)
    assert "not an official copy" in final.source


ROWS = [LeaderboardRow(place=at, team="", score=score) for at, score in ((1, 0.1), (2, 0.2), (3, 0.2), (10, 0.5))]
PART = Board(title="", metric="", teams=(90, 100), source="", as_of="", rows=ROWS)


@pytest.mark.parametrize(
    ("score", "best", "worst"),
    [(0.05, 1, 1), (0.1, 2, 2), (0.15, 2, 2), (0.2, 4, 10), (0.3, 4, 10), (0.5, 11, 101), (9.0, 11, 101)],
)
def test_place_is_a_range_where_rows_are_unknown(score, best, worst):
    """Behind rows with the same score; exact where all rows in between are known."""
    seen = place(score, PART, lower_is_better=True)
    assert (seen.best, seen.worst) == (best, worst)


def test_place_where_higher_is_better():
    rows = [LeaderboardRow(place=at, team="", score=score) for at, score in ((1, 0.9), (2, 0.8), (3, 0.7))]
    complete = Board(title="", metric="", teams=(3, 3), source="", as_of="", rows=rows)
    assert [place(score, complete, lower_is_better=False).best for score in (1.0, 0.85, 0.8, 0.1)] == [1, 2, 3, 4]
    assert [place(score, complete, lower_is_better=False).worst for score in (1.0, 0.85, 0.8, 0.1)] == [1, 2, 3, 4]


def test_place_refuses_nan():
    with pytest.raises(UsageError):
        place(float("nan"), PART, lower_is_better=True)


def test_leaderboard_command_shows_rows_and_rank(dfdc, kaggle_server, cache):
    kaggle_server.world.leaderboard = teams(30)
    done = dfdc("leaderboard", "--top", "3", "--place", "0.20015", XDG_CACHE_HOME=str(cache.parent))
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 of 30 teams" in done.stdout
    assert "0.20015 would rank at place 3, behind 0.20010 (place 2), ahead of 0.20020 (place 3)" in done.stdout
    assert max(map(len, done.stdout.splitlines()[:8])) <= 80
    kaggle_server.fault("reset", at="GetLeaderboard", times=-1)
    unsigned = {"XDG_CACHE_HOME": str(cache.parent), "KAGGLE_KEY": ""}
    done = dfdc("leaderboard", "--json", "--place", "0.1", **unsigned)
    shown = json.loads(done.stdout)
    assert (shown["fresh"], shown["place"]["best"]) == (False, 1)
    assert "No Kaggle credentials" in shown["note"]
    assert len(shown["board"]["rows"]) == 30


def test_leaderboard_offline_sends_no_request(dfdc, kaggle_server, cache):
    done = dfdc("leaderboard", "--offline", "--place", "0.46", XDG_CACHE_HOME=str(cache.parent))
    assert (done.returncode, done.stderr) == (0, "")
    assert kaggle_server.requests == []
    assert "not an official copy" in done.stdout
    assert "0.46 would rank at about place 14 to 15, behind 0.45149 (place 10), ahead of 0.46099 (place 15)" in (
        done.stdout
    )
    assert "Local sets are easier than the hidden test set" in done.stdout
    assert leaderboard.FINAL.is_file()


def likely(score, **options):
    seen = place(score, final_board(), lower_is_better=True, **options)
    return seen.likely_best, seen.likely_worst


def test_place_tells_scores_apart_behind_the_last_known_row():
    """All that the known rows say of these is 97 to 2,117."""
    scores = [0.52, 0.56, 0.6, 0.7, 1.0, 3.0, 17.3]
    ranges = [likely(score) for score in scores]
    assert all(97 <= low < high <= 2117 for low, high in ranges)
    assert [low for low, _ in ranges] == sorted({low for low, _ in ranges})
    assert ranges[0][1] < ranges[3][0]  # 0.52 is surely ahead of 0.7
    assert likely(0.71)[1] > 2000
    assert likely(17.3)[0] > 1700


def test_place_between_known_rows_is_interpolated():
    assert [likely(score) for score in (0.478, 0.49, 0.505)] == [(40, 42), (58, 66), (93, 96)]


def test_place_gives_a_wider_range_for_an_uncertain_score():
    low, high = likely(0.46)
    for rows in (4000, 400, 40):
        interval = leaderboard.interval_for_rows(0.46, rows)
        wider = likely(0.46, interval=interval)
        assert wider[0] <= low
        assert wider[1] > high
        low, high = wider


def test_place_of_a_metric_with_unknown_worst_score_is_what_the_rows_say():
    seen = place(9.0, PART, lower_is_better=True)
    assert (seen.likely_best, seen.likely_worst, seen.basis) == (11, 101, "")


def test_leaderboard_places_the_score_of_a_run(dfdc, cache, tmp_path):
    run = tmp_path / "runs" / "20261101-120000-saved"
    run.mkdir(parents=True)
    (run / "run.json").write_bytes(SAVED.read_bytes())
    done = dfdc("leaderboard", "--offline", "--place", "last", "--json")
    seen = json.loads(done.stdout)["place"]
    assert seen["score"] == json.loads(SAVED.read_bytes())["score"]["value"]
    assert seen["interval"][0] < seen["score"] < seen["interval"][1]
    assert dfdc("leaderboard", "--offline", "--place", "nothing").returncode == 2
