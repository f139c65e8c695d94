"""A competition's leaderboard, as Kaggle shows it now.

The client's own download would write `<competition>.zip`, the name of the data bundle; nothing is written here.
"""

from typing import Any

import msgspec

from dfdc_kit.kaggle_client.client import Kaggle

PAGE = 200  # rows
MOST_PAGES = 500


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One team on the leaderboard."""

    team: str
    score: str  # as Kaggle writes it
    submitted: str = ""  # ISO 8601


def leaderboard(kaggle: Kaggle, slug: str) -> list[Standing]:
    """All rows in Kaggle's order, page after page. Raises KaggleFault."""
    found: list[Standing] = []
    token = ""
    for _ in range(MOST_PAGES):
        answer = kaggle.call("reading the leaderboard", lambda api: _page(api, slug, token), slug=slug)  # noqa: B023
        found += [
            Standing(
                team=row.team_name or "",
                score=row.score or "",
                submitted=row.submission_date.isoformat() if row.submission_date else "",
            )
            for row in answer.submissions or []
        ]
        if not answer.next_page_token or answer.next_page_token == token:
            break
        token = answer.next_page_token
    return found


def _page(api: Any, slug: str, token: str) -> Any:
    from kagglesdk.competitions.types.competition_api_service import ApiGetLeaderboardRequest

    request = ApiGetLeaderboardRequest()
    request.competition_name, request.page_size, request.page_token = slug, PAGE, token
    with api.build_kaggle_client() as client:
        return client.competitions.competition_api_client.get_leaderboard(request)
