"""The rules of a competition, as data: phases, quota, finals, ties, prizes, eligibility; read from a TOML file."""

import itertools
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import DataError, DataMissingError, UsageError, suggest
from dfdc_kit.files import PACKAGE
from dfdc_kit.profiles import Profile
from dfdc_kit.settings import Settings, read_toml

FOLDER = PACKAGE / "competitions"

Count = Annotated[int, msgspec.Meta(gt=0)]
Fraction = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class Phase(Settings, frozen=True, kw_only=True):
    """A span of days, both included, in which submissions are judged."""

    name: str
    kind: Literal["trial", "public", "private-rerun"]  # trial: nothing counts
    start: date
    end: date
    profile: str  # runtime profile: a name, or a TOML file relative to the competition's


class Quota(Settings, frozen=True, kw_only=True):
    """How many submissions a team may make a day; a fault of the organizers uses up none."""

    daily: Count
    failed_ones_count: bool


class Finals(Settings, frozen=True, kw_only=True):
    """Which submissions of a team enter the private ranking; the best of them is its private score."""

    count: Count
    rule: Literal["best", "last", "chosen"]  # best by public score; chosen: without a choice, the best
    chosen: dict[str, list[str]] = msgspec.field(default_factory=dict)  # team -> names of its submissions


class Scores(Settings, frozen=True, kw_only=True):
    """How scores are ranked and shown, and how the rows of the solution are divided."""

    ties: Literal["shared", "earliest"]  # equal scores: the same rank, or the earlier submission first
    public_fraction: Fraction  # of the solution's rows
    ladder_step: Annotated[float, msgspec.Meta(gt=0)] | None = None  # the Ladder's; None: scores are shown as they are
    medals: list[Count] | None = None  # the last place of gold, silver and bronze; None: by the number of teams


class Eligibility(Settings, frozen=True, kw_only=True):
    """What a team must do to win a prize."""

    open_code: bool
    code_licence: str = ""
    external_data: bool
    external_data_licence: str = ""  # which licences are accepted
    external_data_disclosed_by: date | None = None  # public disclosure of external data
    consent: str = ""  # what is asked of people who appear in external data


class Prize(Settings, frozen=True, kw_only=True):
    """What a place is worth."""

    place: Count
    amount_usd: int


class Disqualification(Settings, frozen=True, kw_only=True):
    """A team that keeps its row, without a rank."""

    team: str
    reason: str


class Competition(Settings, frozen=True, kw_only=True):
    """The rules of one competition."""

    title: str
    challenge: str  # name of a challenge, or its TOML file, relative to this one
    metric: str  # the challenge's, named again so that the wrong challenge is noticed
    source: str
    as_of: date
    quota: Quota
    finals: Finals
    scores: Scores
    eligibility: Eligibility
    phases: list[Phase]
    prizes: list[Prize] = msgspec.field(default_factory=list)
    baselines: list[str] = msgspec.field(
        default_factory=list
    )  # names of submissions that are shown for comparison, without a rank
    disqualified: list[Disqualification] = msgspec.field(default_factory=list)

    def medal_places(self, teams: int) -> tuple[int, int, int]:
        """The last places of gold, silver and bronze among `teams` teams."""
        if self.scores.medals:
            gold, silver, bronze = self.scores.medals
            return gold, silver, bronze
        return kaggle_medals(teams)

    def phase(self, kind: str) -> Phase | None:
        """The first phase of a kind; None if there is none."""
        return next((phase for phase in self.phases if phase.kind == kind), None)


def kaggle_medals(teams: int) -> tuple[int, int, int]:
    """The last places of gold, silver and bronze by Kaggle's rule (progression page).

    >>> kaggle_medals(2265), kaggle_medals(24)
    ((14, 113, 226), (2, 4, 9))
    """
    if teams < 100:
        return max(teams // 10, 1), max(teams // 5, 1), max(teams * 2 // 5, 1)
    if teams < 250:
        return 10, teams // 5, teams * 2 // 5
    gold = 10 + teams // 500
    return (gold, 50, 100) if teams < 1000 else (gold, teams // 20, teams // 10)


def names() -> list[str]:
    """The names of the bundled competitions, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> tuple[Competition, Challenge]:
    """The competition `name`, or the one in the TOML file `name`, and its challenge.

    Raises DataMissingError for an unknown name, DataError for rules that contradict themselves or the challenge.
    """
    path = Path(name).absolute() if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        hint = suggest(name, names(), label="A competition is a TOML file or one of")
        raise DataMissingError(f"Competition not found: {name!r}.", hint=hint)
    rules = read_toml(path, Competition)
    if rules.challenge.endswith(".toml"):
        challenge = challenges.load(str(path.parent / rules.challenge))
    else:
        challenge = challenges.load(rules.challenge)
    if faults := list(_faults(rules, challenge)):
        raise DataError(f"{path} is not valid:\n  " + "\n  ".join(faults), hint="Correct these lines.")
    return rules, challenge


def _faults(rules: Competition, challenge: Challenge) -> list[str]:
    found = []
    if rules.metric != challenge.metric.name:
        found.append(f"metric: seen {rules.metric!r}, but the challenge {challenge.slug} has {challenge.metric.name!r}")
    if not rules.phases:
        found.append("phases: there are none")
    for phase in rules.phases:
        if phase.end < phase.start:
            found.append(f"phase {phase.name!r}: it ends on {phase.end}, before it starts on {phase.start}")
    ordered = sorted(rules.phases, key=lambda phase: phase.start)
    for before, after in itertools.pairwise(ordered):
        if after.start <= before.end:
            found.append(f"phases {before.name!r} and {after.name!r} overlap on {after.start}")
    medals = rules.scores.medals
    if medals is not None and (len(medals) != 3 or sorted(medals) != medals):
        found.append(f"scores.medals: seen {medals}, expected three places, gold first")
    for team, chosen in rules.finals.chosen.items():
        if len(chosen) > rules.finals.count:
            found.append(f"finals.chosen: {team!r} chose {len(chosen)}, at most {rules.finals.count} count")
    places = [prize.place for prize in rules.prizes]
    if len(set(places)) < len(places):
        found.append("prizes: a place has more than one")
    disclosed = rules.eligibility.external_data_disclosed_by
    if disclosed and ordered and disclosed > ordered[-1].end:
        found.append(f"eligibility.external_data_disclosed_by: {disclosed} is after the last phase")
    return found


class JudgingRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules of a competition say about judging; without a competition, the current challenge alone."""

    challenge: Challenge
    profile_name: str
    profile: Profile
    baselines: list[str]


def judging_rules(competition: str, phase: str, profile: str) -> JudgingRules:
    """The rules of `competition` in its first phase of the kind `phase`; `profile` takes precedence over the phase's.

    An empty `competition` means the current challenge, under the default profile. Raises KitError.
    """
    if not competition:
        name = profile or profiles.DEFAULT
        return JudgingRules(challenge=challenges.load(), profile_name=name, profile=profiles.load(name), baselines=[])
    rules, challenge = load(competition)
    found = rules.phase(phase)
    if found is None:
        known = dict.fromkeys(one.kind for one in rules.phases)
        hint = suggest(phase, known, label="Kinds of its phases")
        raise UsageError(f"{rules.title} has no phase of the kind {phase!r}.", hint=hint)
    name = profile or found.profile
    if not profile and name.endswith(".toml"):
        name = str(Path(competition).absolute().parent / name)
    return JudgingRules(challenge=challenge, profile_name=name, profile=profiles.load(name), baselines=rules.baselines)
