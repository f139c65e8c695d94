"""The network of face-cnn: weights, statistics, batches of videos, PyTorch on a GPU."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "baselines/face-cnn"


def regression(cnn, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights, as train.py writes them."""
    rng = np.random.default_rng(seed)
    shapes = cnn.network.REGRESSION
    return {name: np.asarray(0.1 + 0.01 * rng.standard_normal(shape), np.float32) for name, shape in shapes.items()}


def test_regression_survives_the_file_and_one_of_another_network_is_refused(cnn, tmp_path: Path):
    arrays = regression(cnn)
    cnn.network.save(arrays, tmp_path / "w.npz")
    loaded = cnn.network.load(tmp_path / "w.npz").regression
    assert all((loaded[name] == value).all() for name, value in arrays.items())
    np.savez(tmp_path / "other.npz", **(arrays | {"weight": np.zeros(3, np.float32)}))
    with pytest.raises(ValueError, match="made for another network"):
        cnn.network.load(tmp_path / "other.npz")


def pictures(count: int, side: int = 64) -> np.ndarray:
    """(count, side, side, 3) of random pixels."""
    return np.random.default_rng(0).integers(0, 255, (count, side, side, 3), np.uint8)


def test_without_a_regression_the_network_says_nothing(cnn):
    net = cnn.network.load(None)
    assert net.statistics(pictures(3)).shape == (3, cnn.network.STATISTICS)
    assert net(pictures(3)).tolist() == [0, 0, 0]


def test_several_regressions_give_what_each_gives_alone(cnn):
    one, two = (
        regression(cnn, 1),
        regression(cnn, 2) | {name: regression(cnn, 1)[name] for name in ("centre", "spread")},
    )
    net, crops = cnn.network.load(None), pictures(2)
    net.set_regression(one | {name: np.stack([one[name], two[name]], axis=-1) for name in ("weight", "bias")})
    together = net(crops)
    for k, arrays in enumerate((one, two)):
        net.set_regression(arrays)
        assert np.allclose(net(crops), together[:, k], atol=1e-4)


def test_statistics_are_the_mean_and_deviation_inside_each_region(cnn):
    """Against the definition, channel by channel."""
    x = np.random.default_rng(0).standard_normal((2, 3, 10, 10)).astype(np.float32)
    pooled = cnn.network.pool(x).reshape(2, 2, cnn.network.REGIONS, 3)
    for n, region in enumerate(cnn.network.regions(10, 10)):
        for channel in range(3):
            mean = np.average(x[1, channel], weights=region)
            spread = np.sqrt(np.average((x[1, channel] - mean) ** 2, weights=region))
            assert pooled[1, :, n, channel] == pytest.approx([mean, spread], abs=1e-4)


def test_regions_cover_the_crop_and_the_face_is_in_its_middle(cnn):
    inside, rim, outside = cnn.network.regions(40, 40)
    assert [float(region.sum()) for region in (inside, rim, outside)] == pytest.approx([1, 1, 1])
    assert inside[20, 20] > 0 == outside[20, 20]
    assert outside[0, 0] > 0 == inside[0, 0]
    assert ((inside + rim + outside) > 0).all()


def test_noise_view_is_zero_on_a_plane_and_not_on_noise(cnn):
    """Colours without any texture must not change the statistics of the noise."""
    net = cnn.network.load(None)
    grey = np.full((1, 64, 64, 3), 90, np.uint8)
    red = grey.copy()
    red[..., 0] = 200
    half = cnn.network.STATISTICS // 2
    first, second, noisy = (net.statistics(crops)[0] for crops in (grey, red, grey + pictures(1) // 12))
    inner = slice(half, half + 16)  # the mean of the first block's channels inside the face
    assert np.allclose(first[inner], second[inner], atol=1e-4)
    assert not np.allclose(first[inner], noisy[inner], atol=1e-2)


def test_prediction_does_not_depend_on_the_rest_of_the_batch(cnn, monkeypatch):
    monkeypatch.setattr(cnn.predict, "SIDE", 64)
    rng = np.random.default_rng(0)
    videos = [(n, [[rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(7)]] * (1 + n % 2)) for n in range(9)]
    net = cnn.network.load(None)
    net.set_regression(regression(cnn))
    scorer = cnn.predict.Scorer(net, cores=2)
    together = dict(scorer.videos(videos))
    assert list(together) == list(range(9))
    assert [len(faces) for faces in together.values()] == [1 + n % 2 for n in range(9)]
    backwards = dict(scorer.videos(reversed(videos)))
    alone = {n: faces for video in videos for n, faces in scorer.videos([video])}
    for other in (backwards, alone):
        for n, faces in together.items():
            assert np.allclose(faces, other[n], atol=1e-5)


class SumOfPixels:
    """Takes the place of the network; remembers the sizes of its batches."""

    def __init__(self, batch: int) -> None:
        self.sizes: list[int] = []
        self.blocks = SimpleNamespace(device="cuda", batch=lambda: batch)

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        self.sizes.append(len(crops))
        return crops.mean(axis=(1, 2, 3))


@pytest.mark.parametrize("count", [1, 16, 17, 40])
def test_batches_have_one_size_and_every_crop_its_own_logit(cnn, count: int):
    """A library of convolutions keeps memory for each size of a batch that it has seen."""
    net = SumOfPixels(batch=16)
    crops = [np.full((20, 20, 3), n, np.uint8) for n in range(1, count + 1)]
    logits = cnn.predict.Scorer(net, cores=1).logits(crops)
    assert logits.tolist() == list(range(1, count + 1))
    assert set(net.sizes) == {16}


def test_face_most_like_a_fake_decides(cnn):
    assert cnn.predict.video_logit([np.full(5, -2.0), np.full(3, 1.5)]) == pytest.approx(1.5)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_pytorch_computes_what_opencv_computes(cnn, device: str):
    torch = pytest.importorskip("torch", reason="a GPU is used through torch")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that PyTorch can use")
    crops = pictures(4, cnn.network.SIDE)
    both = cnn.network.OpenCvBlocks(), cnn.gpu.TorchBlocks(torch.device(device))
    opencv, pytorch = (cnn.network.load(FOLDER / "model/weights.npz", blocks)(crops) for blocks in both)
    assert np.allclose(opencv, pytorch, atol=1e-3 if device == "cpu" else 0.05)
    assert np.ptp(opencv) > 0.01


@pytest.mark.parametrize(("free_gib", "crops"), [(0.001, 2), (1, 16), (4, 64), (8, 128), (80, 256)])
def test_batch_fits_into_half_of_the_free_gpu_memory(cnn, monkeypatch, free_gib: float, crops: int):
    torch = pytest.importorskip("torch", reason="a GPU is used through torch")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free_gib * 2**30), 80 << 30))
    assert cnn.gpu.TorchBlocks(torch.device("cpu")).batch() == crops
