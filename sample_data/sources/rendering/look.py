"""Appearance parameters of the synthetic people."""

from __future__ import annotations

from dataclasses import dataclass, field

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """The appearance parameters of one synthetic person."""

    seed: int
    male: float  # 0 female, 1 male
    ancestry: dict[str, float]  # weights of the three macro targets
    age: float  # 0 about 25 years, 1 about 90
    weight: float  # -1 thin, 0 average, 1 heavy
    skin: Rgb  # linear RGB albedo
    hair: Rgb
    style: str  # "crop", "short", "bob", "long", "bun", "bald"
    iris: Rgb
    shirt: Rgb
    stubble: float = 0.0
    freckles: float = 0.0
    lipstick: Rgb | None = None
    key_side: float = 1.0  # -1 light from the left, 1 from the right
    extra: dict[str, float] = field(default_factory=dict)
