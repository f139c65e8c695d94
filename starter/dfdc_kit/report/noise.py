"""How noisy a machine was during a run, as a record: a time measured in it is no firmer than this."""

from collections.abc import Iterator

import msgspec

MUCH = 1.1  # a factor; below it, nobody needs to be told


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """What else went on, and how evenly the cores worked."""

    others_share: float | None  # of all cores' time, taken by other programs; 0 to 1; None: not known here
    load_before: float  # programs that ran or wanted to, on average over the minute before
    paces: int  # how often the same small piece of work was timed during the run
    pace_s: tuple[float, float, float] | None  # its CPU time: 5 %, 50 % and 95 % quantile; None: a run too short

    @property
    def quicker(self) -> float:
        """How many times as fast the run might have been on this machine undisturbed; 1 or more."""
        pace = self.pace_s[1] / self.pace_s[0] if self.pace_s else 1.0
        return pace / max(1 - (self.others_share or 0.0), 0.05)

    @property
    def slower(self) -> float:
        """How many times as long it might have taken, had all of it been as slow as its slowest moments; 1 or more."""
        return self.pace_s[2] / self.pace_s[1] if self.pace_s else 1.0


def cautions(noise: Noise) -> Iterator[str]:
    """What to say about the times of a run under `noise`; nothing if there is nothing to say."""
    if (noise.others_share or 0.0) > 1 - 1 / MUCH:
        yield f"other programs took {noise.others_share:.0%} of this machine meanwhile"
    if noise.pace_s is not None and noise.pace_s[2] / noise.pace_s[0] > MUCH:
        least, middle, most = noise.pace_s
        yield f"the same work took {least / middle:.2f} to {most / middle:.2f} times its usual CPU time"
