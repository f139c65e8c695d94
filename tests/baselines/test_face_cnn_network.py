"""The network of face-cnn: weights, batches of videos, mixed precision, graphics cards."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="face-cnn needs torch")

FOLDER = Path(__file__).resolve().parents[2] / "baselines/face-cnn"
ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that PyTorch can use"),
]
DEVICES = [pytest.param("cuda", marks=ON_GPU)]


def regression(cnn, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights, as train.py writes them."""
    rng = np.random.default_rng(seed)
    shapes = cnn.network.REGRESSION
    return {name: np.asarray(0.1 + 0.01 * rng.standard_normal(shape), np.float32) for name, shape in shapes.items()}


def test_regression_survives_the_file_and_one_of_another_network_is_refused(cnn, tmp_path: Path):
    arrays = regression(cnn)
    cnn.network.save(arrays, tmp_path / "w.npz")
    loaded = cnn.network.load(tmp_path / "w.npz")
    assert all((getattr(loaded, name).numpy() == value).all() for name, value in arrays.items())
    np.savez(tmp_path / "other.npz", **(arrays | {"weight": np.zeros(3, np.float32)}))
    with pytest.raises(ValueError, match="made for another network"):
        cnn.network.load(tmp_path / "other.npz")


def test_fused_network_computes_the_same_and_without_a_regression_says_nothing(cnn):
    torch.manual_seed(0)
    net = cnn.network.FaceNet()
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
            torch.nn.init.uniform_(layer.running_mean, -1, 1)
    crops = torch.randint(0, 255, (3, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        before = net.eval().statistics(crops)
        after = cnn.network.fused(net).statistics(crops)
        assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in net.modules())
        assert before.shape == (3, cnn.network.STATISTICS)
        assert torch.allclose(before, after, atol=1e-3)
        assert net(crops).tolist() == [0, 0, 0]


def test_several_regressions_give_what_each_gives_alone(cnn):
    one, two = (
        regression(cnn, 1),
        regression(cnn, 2) | {name: regression(cnn, 1)[name] for name in ("centre", "spread")},
    )
    net, crops = cnn.network.load(None), torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    both = one | {name: np.stack([one[name], two[name]], axis=-1) for name in ("weight", "bias")}
    with torch.inference_mode():
        net.set_regression(both)
        together = net(crops)
        for k, arrays in enumerate((one, two)):
            net.set_regression(arrays)
            assert torch.allclose(net(crops), together[:, k], atol=1e-4)


def test_regions_cover_the_crop_and_the_face_is_in_its_middle(cnn):
    inside, rim, outside = cnn.network.regions(40, 40, torch.device("cpu"))
    assert [float(region.sum()) for region in (inside, rim, outside)] == pytest.approx([1, 1, 1])
    assert inside[20, 20] > 0 == outside[20, 20]
    assert outside[0, 0] > 0 == inside[0, 0]
    assert ((inside + rim + outside) > 0).all()


def test_noise_view_is_zero_on_a_plane_and_not_on_noise(cnn):
    """Colours without any texture must not change the statistics of the noise."""
    net = cnn.network.load(None)
    grey, red = torch.full((1, 3, 64, 64), 90, dtype=torch.uint8), torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)
    red[:, 0] = 200
    half = cnn.network.STATISTICS // 2
    with torch.inference_mode():
        first, second = net.statistics(grey)[0], net.statistics(red)[0]
        noisy = net.statistics((grey + torch.randint(0, 20, grey.shape)).to(torch.uint8))[0]
    inner = slice(half, half + 16)  # the mean of the first block's channels inside the face
    assert torch.allclose(first[inner], second[inner], atol=1e-4)
    assert not torch.allclose(first[inner], noisy[inner], atol=1e-2)


def test_prediction_does_not_depend_on_the_rest_of_the_batch(cnn, monkeypatch):
    monkeypatch.setattr(cnn.predict, "SIDE", 64)
    rng = np.random.default_rng(0)
    videos = [(n, [[rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(7)]] * (1 + n % 2)) for n in range(9)]
    net = cnn.network.load(None)
    net.set_regression(regression(cnn))
    scorer = cnn.predict.Scorer(net, torch.device("cpu"), cores=2)
    together = dict(scorer.videos(videos))
    assert list(together) == list(range(9))
    assert [len(faces) for faces in together.values()] == [1 + n % 2 for n in range(9)]
    backwards = dict(scorer.videos(reversed(videos)))
    alone = {n: faces for video in videos for n, faces in scorer.videos([video])}
    for other in (backwards, alone):
        for n, faces in together.items():
            assert np.allclose(faces, other[n], atol=1e-5)


class SumOfPixels(torch.nn.Module):
    """Takes the place of the network; remembers the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, crops):
        self.sizes.append(len(crops))
        return crops.float().mean(dim=(1, 2, 3))


@pytest.mark.parametrize("count", [1, 16, 17, 40])
def test_batches_have_one_size_and_every_crop_its_own_logit(cnn, count: int):
    """The library behind convolutions on CPU keeps memory for each size of a batch that it has seen."""
    net = SumOfPixels()
    crops = [np.full((20, 20, 3), n, np.uint8) for n in range(1, count + 1)]
    logits = cnn.predict.Scorer(net, torch.device("cpu"), cores=1).logits(crops)
    assert logits.tolist() == list(range(1, count + 1))
    assert set(net.sizes) == {cnn.predict.CPU_BATCH}


def test_face_most_like_a_fake_decides(cnn):
    assert cnn.predict.video_logit([np.full(5, -2.0), np.full(3, 1.5)]) == pytest.approx(1.5)


@pytest.mark.parametrize("device", DEVICES)
def test_gpu_predicts_like_the_cpu(cnn, faces: Path, device: str):
    net = cnn.network.load(FOLDER / "model/weights.npz")
    crops = [crop for entry in cnn.train.usable_videos(faces) for face in cnn.train.faces_of(entry) for crop in face]
    on_cpu, on_gpu = (cnn.predict.Scorer(net, torch.device(name), 1).logits(crops) for name in ("cpu", device))
    assert np.allclose(on_cpu, on_gpu, atol=0.05)


@pytest.mark.parametrize(("free_gib", "crops"), [(0.001, 2), (1, 16), (4, 64), (8, 128), (80, 256)])
def test_batch_fits_into_half_of_the_free_gpu_memory(cnn, monkeypatch, free_gib: float, crops: int):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free_gib * 2**30), 80 << 30))
    assert cnn.predict.batch_size(torch.device("cuda")) == crops
