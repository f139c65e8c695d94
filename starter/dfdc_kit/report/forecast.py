"""What a time forecast says, as records for the run report: no arithmetic, nothing imported but msgspec."""

from typing import Literal

import msgspec

Verdict = Literal["fits", "does not fit", "cannot tell"]
Trend = Literal["none", "possibly growing", "growing", "possibly falling", "falling"]
Basis = Literal["reads", "too few reads", "no reads"]

LEAK_BYTES = 16 << 10  # a video; below it, 10,000 videos add less than 160 MiB: an allocator's own noise


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of `rows` videos cost, taken apart. All times in seconds of wall time.

    A cost is the time from one completion (last close of a video) to the next, so overlapping readers, and a model that
    computes after it has closed the file, are counted once and in full.
    """

    rows: int  # videos that the run had
    completed: int  # videos opened and closed for good
    unfinished: int  # videos still open at the end
    readers: int  # videos open at the same time, at most
    wall_time_s: float
    startup_s: float  # until the first completion, less one typical cost, plus what the warm-up took too long
    warm_up_videos: int  # first videos that cost more than everything later, left out of `costs_s`
    finish_s: float  # from the last completion to the end
    backlog_s: float  # the part of `finish_s` that looks like work on all videos at once; 0: none
    costs_s: list[float]  # (n,) steady costs in the order of completion
    basis: Basis


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """The wall time of a run over `videos` videos: a 90 % interval and its middle, in seconds."""

    videos: int
    low_s: float
    median_s: float
    high_s: float | None  # None: the run shows too little for an upper bound
    trend: Trend = "none"


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One hidden test: does it finish in time, here and there."""

    name: str  # "public", "private"
    videos: int
    here: Projection
    here_verdict: Verdict
    hosted: Projection | None  # None: see TimeForecast.hosted_refused
    hosted_verdict: Verdict


class TimeForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Will it finish in time? Everything that the answer rests on, as far as the run's reads do not say it already."""

    limit_s: float
    profile: str
    cost_s: float | None  # mean cost of a video after the start-up
    cost_spread_s: tuple[float, float] | None  # 5 % and 95 % quantile of the cost of one video
    startup_s: float
    finish_s: float
    videos_measured: int
    busy_cores: float | None  # CPU time over wall time, of the whole process tree; None: not known
    cores: int  # of this machine
    outlooks: list[Outlook]
    hosted_ratio: tuple[float, float] | None  # seconds there for one second here, least and most
    hosted_refused: str  # why nothing is said about the hosted machine; empty if something is
    hosted_decoding_s: list[
        tuple[float, float]
    ]  # by outlook, for a refused model: decoding every frame there; may be empty
    constants: list[str]  # each constant with its source and date
    cautions: list[str]


class MemoryGrowth(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the process tree against the number of videos done, over the later half of a run. Bytes a video."""

    videos: int  # videos done at the last sample
    last_bytes: int
    slope_bytes: float
    low_bytes: float  # 90 % interval of the slope
    high_bytes: float

    @property
    def leaks(self) -> bool:
        """Whether memory grows beyond doubt, and so much that it matters: the whole interval lies above LEAK_BYTES."""
        return self.low_bytes > LEAK_BYTES
