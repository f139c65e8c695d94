"""Training batches of face-cnn: self-blended faces, and pairs that differ in nothing but the manipulation."""

from pathlib import Path

import numpy as np


def face_picture() -> tuple[np.ndarray, np.ndarray]:
    """A crop with texture, and five plausible landmarks."""
    rng = np.random.default_rng(0)
    picture = np.clip(128 + 40 * rng.standard_normal((224, 224, 3)), 0, 255).astype(np.uint8)
    return picture, np.array([[85, 90], [139, 90], [112, 120], [92, 150], [132, 150]], np.float32)


def test_mask_covers_the_nose_and_not_the_border(cnn):
    _, landmarks = face_picture()
    masks = [cnn.blend.face_mask(landmarks, (224, 224), np.random.default_rng(seed)) for seed in range(50)]
    soft = [cnn.blend.blurred(mask, np.random.default_rng(9)) for mask in masks]
    assert all(0 <= mask.min() <= mask.max() <= 1 for mask in soft)
    assert np.mean([mask[115, 112] for mask in soft]) > 0.9
    assert max(mask[:4].max() for mask in soft) < 0.05
    assert 0.05 < np.mean([mask.mean() for mask in soft]) < 0.5


def test_self_blend_depends_on_the_seed_only(cnn):
    picture, landmarks = face_picture()
    one, same, other = (cnn.blend.self_blend(picture, landmarks, np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    assert one.shape == picture.shape
    assert one.dtype == np.uint8
    assert (one == same).all()
    assert (one != other).any()


def test_self_blend_differs_from_real_inside_the_face_only(cnn):
    """A tint of the whole crop would reveal the label without the blend."""
    picture, landmarks = face_picture()
    pairs = [cnn.blend.self_blend(picture, landmarks, np.random.default_rng(seed)) for seed in range(40)]
    assert all((real[:6] == fake[:6]).mean() > 0.99 for real, fake in pairs)
    assert all((real != fake).mean() > 0.02 for real, fake in pairs)
    assert any((real != picture).mean() > 0.9 for real, _ in pairs)  # half the time the outer copy is changed


def pairs_of(cnn, faces: Path, self_blended: float, seed: int = 0):
    recipe = cnn.batches.Recipe(seed=seed, self_blended=self_blended, side=64)
    return cnn.batches.Pairs(cnn.train.usable_videos(faces), recipe)


def test_pair_depends_on_seed_and_number_only(cnn, faces: Path):
    first, again, other = (pairs_of(cnn, faces, 0.5, seed) for seed in (3, 3, 4))
    again[6]
    real, fake = first[5]
    assert (real.crop.shape, real.label, fake.label) == ((64, 64, 3), 0, 1)
    assert all((a.crop == b.crop).all() for a, b in zip(first[5], again[5], strict=True))
    assert any((a.crop != b.crop).any() for a, b in zip(first[5], first[6], strict=True))
    assert any((a.crop != b.crop).any() for a, b in zip(first[5], other[5], strict=True))


def test_real_and_fake_get_the_same_augmentation(cnn, faces: Path, monkeypatch):
    """If the fake is the real crop itself, both must come out equal: else the augmentation reveals the label."""
    monkeypatch.setattr(cnn.batches, "self_blend", lambda face, landmarks, rng: (face, face))
    pairs = pairs_of(cnn, faces, 1.0)
    assert all((real.crop == fake.crop).all() for real, fake in map(pairs.__getitem__, range(30)))


def test_fake_of_a_pair_is_of_the_same_original_and_frame(cnn, faces: Path):
    pairs = pairs_of(cnn, faces, 0.0)
    for entry in pairs.reals:
        crop = cnn.shards.read_crops(entry)[7]
        for fake in pairs.fakes_of[entry.video]:
            other = cnn.batches.counterpart(crop, cnn.shards.read_crops(fake))
            assert (other.frame, other.track) == (crop.frame, crop.track)
    assert all(real.original == fake.original for real, fake in map(pairs.__getitem__, range(10)))
