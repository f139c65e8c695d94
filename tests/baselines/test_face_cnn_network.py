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
DEVICES = ["cpu", pytest.param("cuda", marks=ON_GPU)]


def test_weights_survive_the_file_and_others_are_refused(cnn, tmp_path: Path):
    net = cnn.network.FaceNet().eval()
    cnn.network.save(net.state_dict(), tmp_path / "w.npz")
    crops = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(net(crops), cnn.network.load(tmp_path / "w.npz")(crops), atol=1e-2)
    np.savez(tmp_path / "other.npz", **{"classify.weight": np.zeros((1, 3), np.float16)})
    with pytest.raises(ValueError, match="made for another network"):
        cnn.network.load(tmp_path / "other.npz")


def test_network_with_the_residual_starts_like_the_pretrained_one_and_is_loaded_as_such(cnn, tmp_path: Path):
    torch.manual_seed(0)
    plain, wide = cnn.network.FaceNet().eval(), cnn.network.FaceNet(residual=True).eval()
    cnn.network.save(plain.state_dict(), tmp_path / "plain.npz")
    cnn.network.load_weights(wide, tmp_path / "plain.npz")
    crops = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(plain(crops), wide(crops), atol=1e-2)
    cnn.network.save(wide.state_dict(), tmp_path / "wide.npz")
    assert cnn.network.load(tmp_path / "wide.npz").residual


def test_upsampling_residual_is_zero_where_pixels_were_doubled(cnn):
    small = torch.rand(1, 3, 8, 8)
    doubled = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert cnn.network.upsampling_residual(doubled).abs().max() == 0
    assert cnn.network.upsampling_residual(torch.rand(1, 3, 16, 16)).abs().mean() > 0.1


def test_prediction_does_not_depend_on_the_rest_of_the_batch(cnn, monkeypatch):
    monkeypatch.setattr(cnn.predict, "SIDE", 64)
    rng = np.random.default_rng(0)
    videos = [(n, [[rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(7)]] * (1 + n % 2)) for n in range(9)]
    scorer = cnn.predict.Scorer(cnn.network.FaceNet(), torch.device("cpu"), cores=2)
    together = dict(scorer.videos(videos))
    assert list(together) == list(range(9))
    assert [len(faces) for faces in together.values()] == [1 + n % 2 for n in range(9)]
    backwards = dict(scorer.videos(reversed(videos)))
    alone = {n: faces for video in videos for n, faces in scorer.videos([video])}
    for other in (backwards, alone):
        for n, faces in together.items():
            assert np.allclose(faces, other[n], atol=1e-5)


def test_face_most_like_a_fake_decides(cnn):
    assert cnn.predict.video_logit([np.full(5, -2.0), np.full(3, 1.5)]) == pytest.approx(1.5)


def losses(cnn, device: str, half: bool, steps: int) -> list[float]:
    """Losses of `steps` steps on the same random crops, each class with a tint of its own."""
    recipe = cnn.batches.Recipe(seed=1, pairs=2, self_blended=0.0, side=32)
    plan = cnn.fit.Plan(1, steps, recipe, 3e-3, pretrained_sha256="", videos_sha256="", held_out_sha256="", crops={})
    training = cnn.fit.Training(plan, cnn.fit.Machine(torch.device(device), half, workers=0))
    labels = torch.tensor([0.0, 1.0] * recipe.pairs)
    shape = (2 * recipe.pairs, 3, recipe.side, recipe.side)
    noise = torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(1))
    crops = (noise + 50 * labels[:, None, None, None]).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    return [training.step(crops, labels) for _ in range(steps)]


@pytest.mark.parametrize("device", DEVICES)
def test_mixed_precision_learns_like_full_precision(cnn, device: str):
    full, half = losses(cnn, "cpu", half=False, steps=10), losses(cnn, device, half=True, steps=10)
    assert half != full
    assert half[0] == pytest.approx(full[0], abs=0.01)
    assert half[-1] < half[0] / 2


@pytest.mark.parametrize("device", DEVICES[1:])
def test_gpu_predicts_like_the_cpu(cnn, faces: Path, device: str):
    net = cnn.network.load(FOLDER / "model/weights.npz")
    crops = [crop for entry in cnn.train.usable_videos(faces) for face in cnn.train.faces_of(entry) for crop in face]
    on_cpu, on_gpu = (cnn.predict.Scorer(net, torch.device(name), 1).logits(crops) for name in ("cpu", device))
    assert np.allclose(on_cpu, on_gpu, atol=0.05)


@pytest.mark.parametrize(("free_gib", "crops"), [(0.001, 2), (1, 32), (4, 128), (8, 256), (80, 256)])
def test_batch_fits_into_half_of_the_free_gpu_memory(cnn, monkeypatch, free_gib: float, crops: int):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free_gib * 2**30), 80 << 30))
    assert cnn.predict.batch_size(torch.device("cuda")) == crops
