"""Exact frames against a "fast mode" that takes others:  python docs/compare_reading.py [DATA_FOLDER].

The fast mode decodes only frames that others are built upon (`skip_frame=NONREF`) and takes the nearest to each wanted
one. face-stats is fitted and asked twice, on the exact frames and on the nearest. DATA_FOLDER: as for compare_rules.py;
default: the bundled sample. frame-stats has no such mode: it compares neighbours, one of which is mostly left out.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import av
from compare_rules import ROOT
from side_by_side import compare

import frames  # isort: skip  # of face-stats, whose folder compare_rules has put on the path

away: Counter[int] = Counter()  # frames from the wanted to the taken one -> how often


def nearest(decoder: av.VideoCodecContext, packets: list[av.Packet], count: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """As frames._wanted, but of the frames that others refer to; every packet has its own time."""
    decoder.skip_frame = "NONREF"
    number_of = {pts: number for number, pts in enumerate(sorted(packet.pts for packet in packets))}
    total = len(number_of)
    count = min(count, total)
    numbers = [(2 * i + 1) * total // (2 * count) for i in range(count)]
    last = None
    for packet in [*packets, None]:
        for frame in decoder.decode(packet):
            while numbers and number_of[frame.pts] >= numbers[0]:
                yield taken(numbers.pop(0), [f for f in (last, frame) if f is not None], number_of)
            last = frame
    for number in numbers:  # after the last that was decoded
        yield taken(number, [last], number_of)


def taken(wanted: int, offered: list[av.VideoFrame], number_of: dict[int, int]) -> tuple[int, av.VideoFrame]:
    """The nearest of the frames offered, and its number."""
    frame = min(offered, key=lambda frame: abs(number_of[frame.pts] - wanted))
    away[abs(number_of[frame.pts] - wanted)] += 1
    return number_of[frame.pts], frame


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "sample_data"
    ways = {"exact frames": nullcontext, "nearest reference frames": lambda: patch.object(frames, "_wanted", nearest)}
    print(compare(ways, folder))
    others = 1 - away[0] / away.total()
    print(f"\nNearest reference frames: {others:.0%} are others than wanted, by {max(away)} at most.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped.")
