"""The people: ten designed by hand, and a random but plausible one for any seed."""

from __future__ import annotations

import random

from rendering.look import Look, Rgb

# linear RGB albedo from pale to dark, between which skin colours are mixed
SKIN: dict[str, tuple[Rgb, Rgb]] = {
    "caucasian": ((0.62, 0.39, 0.30), (0.42, 0.23, 0.145)),
    "asian": ((0.58, 0.38, 0.27), (0.36, 0.20, 0.115)),
    "african": ((0.30, 0.15, 0.085), (0.075, 0.034, 0.019)),
}
HAIR: tuple[Rgb, ...] = (
    (0.008, 0.007, 0.007),
    (0.014, 0.009, 0.006),
    (0.035, 0.016, 0.008),
    (0.09, 0.040, 0.016),
    (0.17, 0.075, 0.022),
    (0.34, 0.20, 0.08),
    (0.16, 0.045, 0.015),
)
GREY: Rgb = (0.24, 0.23, 0.22)
IRIS: tuple[Rgb, ...] = ((0.045, 0.02, 0.01), (0.07, 0.045, 0.02), (0.06, 0.09, 0.04), (0.08, 0.15, 0.21))


def between(low: Rgb, high: Rgb, share: float) -> Rgb:
    """The colour `share` of the way from `low` to `high`."""
    r, g, b = (a + share * (z - a) for a, z in zip(low, high, strict=True))
    return (r, g, b)


def random_look(seed: int) -> Look:
    """An adult: sex, age, ancestry, weight, colours, hair and face sliders drawn from `seed`."""
    rng = random.Random(seed)  # noqa: S311
    male = rng.random() < 0.5
    first = ("caucasian", "asian", "african")[seed % 3]
    second = rng.choice(("caucasian", "asian", "african"))
    share = rng.choice((0.0, 0.0, 0.25, 0.4))
    ancestry = {first: 1 - share, **({second: share} if share and second != first else {})}
    total = sum(ancestry.values())
    ancestry = {name: weight / total for name, weight in ancestry.items()}
    shade = rng.random()
    skin = (0.0, 0.0, 0.0)
    for name, weight in ancestry.items():
        tone = between(*SKIN[name], shade)
        skin = (skin[0] + weight * tone[0], skin[1] + weight * tone[1], skin[2] + weight * tone[2])
    age = min(0.8, max(0.0, rng.betavariate(1.2, 2.2)))
    hair = rng.choice(HAIR if first == "caucasian" else HAIR[:3])
    hair = between(hair, GREY, max(0.0, min(1.0, (age - 0.35) * 2.2)))
    styles = ("crop", "short", "short", "bald") if male else ("bob", "long", "bun", "bob", "short")
    return Look(
        seed=seed,
        male=rng.uniform(0.85, 1.0) if male else rng.uniform(0.0, 0.15),
        ancestry=ancestry,
        age=age,
        weight=max(-0.5, min(0.7, rng.gauss(0.05, 0.3))),
        skin=skin,
        hair=hair,
        style=rng.choice(styles),
        iris=rng.choice(IRIS if first == "caucasian" else IRIS[:2]),
        shirt=tuple(rng.uniform(0.03, 0.45) for _ in range(3)),  # type: ignore[arg-type]
        stubble=rng.choice((0.0, 0.3, 0.6, 1.0)) if male else 0.0,
        freckles=rng.choice((0.0, 0.0, 0.4)) if first == "caucasian" else 0.0,
        lipstick=None if male or rng.random() < 0.4 else between((0.45, 0.10, 0.10), (0.25, 0.04, 0.045), shade),
        key_side=rng.choice((-1.0, 1.0)),
    )


def mix(**weights: float) -> dict[str, float]:
    """Ancestry weights, normalised to a sum of one."""
    total = sum(weights.values())
    return {name: value / total for name, value in weights.items()}


# fmt: off
PEOPLE: dict[str, Look] = {
    "ada": Look(
        seed=11, male=0.05, ancestry=mix(caucasian=1), age=0.10, weight=-0.2, style="long",
        skin=(0.56, 0.33, 0.24), hair=(0.09, 0.035, 0.014),
        iris=(0.10, 0.20, 0.30), shirt=(0.05, 0.16, 0.20), freckles=0.5, lipstick=(0.42, 0.10, 0.09)),
    "bo": Look(
        seed=22, male=0.95, ancestry=mix(asian=1), age=0.15, weight=0.0, style="short",
        skin=(0.50, 0.30, 0.19), hair=(0.008, 0.007, 0.007),
        iris=(0.045, 0.02, 0.01), shirt=(0.30, 0.31, 0.33), key_side=-1),
    "chidi": Look(
        seed=33, male=1.0, ancestry=mix(african=1), age=0.25, weight=0.1, style="crop",
        skin=(0.105, 0.048, 0.026), hair=(0.006, 0.005, 0.005),
        iris=(0.03, 0.014, 0.008), shirt=(0.45, 0.40, 0.28), stubble=0.6,
        extra={"mouth-angles-up": 0.6}),
    "dora": Look(
        seed=44, male=0.0, ancestry=mix(african=2, caucasian=1), age=0.12, weight=0.1, style="bun",
        skin=(0.24, 0.115, 0.062), hair=(0.010, 0.007, 0.006),
        iris=(0.04, 0.02, 0.01), shirt=(0.35, 0.06, 0.07), lipstick=(0.25, 0.035, 0.045), key_side=-1),
    "emil": Look(
        seed=55, male=1.0, ancestry=mix(caucasian=1), age=0.55, weight=0.35, style="short",
        skin=(0.55, 0.30, 0.21), hair=(0.20, 0.19, 0.18),
        iris=(0.12, 0.22, 0.24), shirt=(0.05, 0.06, 0.12), stubble=0.35),
    "fumi": Look(
        seed=66, male=0.0, ancestry=mix(asian=1), age=0.30, weight=-0.1, style="bob",
        skin=(0.57, 0.37, 0.26), hair=(0.010, 0.008, 0.008),
        iris=(0.04, 0.02, 0.012), shirt=(0.55, 0.52, 0.46), lipstick=(0.45, 0.09, 0.09)),
    "gael": Look(
        seed=77, male=0.9, ancestry=mix(caucasian=2, african=1), age=0.05, weight=-0.4, style="short",
        skin=(0.33, 0.175, 0.10), hair=(0.018, 0.010, 0.006),
        iris=(0.07, 0.05, 0.02), shirt=(0.10, 0.22, 0.10), stubble=0.8),
    "hana": Look(
        seed=88, male=0.05, ancestry=mix(caucasian=1, asian=1), age=0.45, weight=0.3, style="bob",
        skin=(0.48, 0.28, 0.19), hair=(0.16, 0.07, 0.025),
        iris=(0.06, 0.09, 0.04), shirt=(0.18, 0.10, 0.24), key_side=-1),
    "ivo": Look(
        seed=99, male=1.0, ancestry=mix(caucasian=1), age=0.35, weight=0.0, style="bald",
        skin=(0.52, 0.29, 0.20), hair=(0.11, 0.05, 0.02),
        iris=(0.08, 0.14, 0.20), shirt=(0.22, 0.05, 0.04), stubble=1.0),
    "juno": Look(
        seed=110, male=0.0, ancestry=mix(caucasian=1), age=0.02, weight=0.0, style="long",
        skin=(0.60, 0.37, 0.28), hair=(0.34, 0.20, 0.08),
        iris=(0.05, 0.16, 0.12), shirt=(0.07, 0.07, 0.08), freckles=0.2, lipstick=(0.48, 0.13, 0.12), key_side=-1),
}
# fmt: on
