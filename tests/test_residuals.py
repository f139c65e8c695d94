"""residuals.py of face-stats: what it measures follows the picture, and nothing else."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "baselines/face-stats"
WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def modules() -> tuple[ModuleType, ModuleType, ModuleType]:
    pytest.importorskip("cv2", reason="filters are OpenCV's")
    sys.path.insert(0, str(FOLDER))
    try:
        return tuple(importlib.import_module(name) for name in ("frames", "faces", "residuals"))
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture
def measure(modules):
    """Statistics by name of a grey picture (HEIGHT, WIDTH) with a face in the middle; None if there are none."""
    frames, faces, residuals = modules

    def call(picture: np.ndarray, side: int = 100, turns: int = 0) -> dict[str, float] | None:
        planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        planes[:HEIGHT] = picture
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        still = frames.Still(0, np.zeros((1, 1, 3), np.uint8), 1.0, frame, turns)
        width, height = still.size
        face = faces.Face((width - side) / 2, (height - side) / 2, side, side, 0.9, np.zeros((5, 2)))
        found = residuals.statistics(still, face)
        return None if found is None else dict(zip(residuals.FEATURES, found.tolist(), strict=True))

    return call


def noise(size: float = 6.0) -> np.ndarray:
    return np.random.default_rng(0).normal(120, size, (HEIGHT, WIDTH)).clip(0, 255)


def inside(radius: float, side: int = 100) -> np.ndarray:
    """(HEIGHT, WIDTH) bool: the ellipse of the face's box, times `radius`."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    return np.hypot((across - WIDTH / 2) / (side / 2), (down - HEIGHT / 2) / (side / 2)) < radius


def test_even_noise_has_no_difference_between_regions(measure):
    found = measure(noise())
    assert {name: value for name, value in found.items() if abs(value) > 0.3} == {}


def test_a_smoother_face_is_seen_inside_and_by_its_rim(measure):
    picture = np.where(inside(1.0), noise(2.0), noise(6.0))
    found, even = measure(picture), measure(noise())
    for residual in ("line", "square", "square_half"):
        assert found[f"{residual}_size_outer"] > even[f"{residual}_size_outer"] + 0.3
        assert 0 < found[f"{residual}_size_rim"] < found[f"{residual}_size_outer"]


def test_an_enlarged_face_lacks_its_finest_detail(measure):
    coarse = noise(12.0)[::2, ::2].repeat(2, axis=0).repeat(2, axis=1)
    found = measure(np.where(inside(1.0), coarse, noise()))
    assert found["fine_to_coarse_inner"] < measure(noise())["fine_to_coarse_inner"] - 0.3


def test_brightness_and_a_quarter_turn_do_not_matter(measure):
    plain = np.where(inside(1.0), noise(3.0), noise(6.0)).astype(np.uint8)
    assert measure(plain + 20) == pytest.approx(measure(plain))
    turned = measure(plain, turns=2)
    assert turned == pytest.approx(measure(np.rot90(plain, 2)), abs=1e-9)


def test_black_pictures_give_numbers(measure):
    assert np.isfinite(list(measure(np.zeros((HEIGHT, WIDTH))).values())).all()


def test_a_face_too_small_gives_none(measure):
    assert measure(noise(), side=12) is None
    assert measure(noise(), side=40) is not None


def test_a_large_face_is_thinned_out_not_cut_off(modules, measure, monkeypatch):
    whole = measure(noise())
    monkeypatch.setattr(modules[2], "LONGEST", 60)
    assert measure(noise()) == pytest.approx(whole, abs=0.25)
