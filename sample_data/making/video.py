"""Audio, quality loss, and encoding, the same for real and fake."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from making.portrait import Array

SOUND_HZ = 44100


@dataclass(frozen=True)
class Tape:
    """Encoding settings, the same for both clips of a pair."""

    fps: Fraction
    crf: int
    shrink: float  # quality loss before the encode: down-up-sampling factor
    sound: bool


def loudness(rng: np.random.Generator, frames: int, fps: float) -> Array:
    """How wide the mouth is in each frame, 0..1: syllables in short phrases."""
    t = np.arange(frames) / fps
    beat = 0.5 + 0.5 * np.sin(
        2 * np.pi * rng.uniform(3.0, 4.2) * t + rng.uniform(0, 6) + 1.5 * np.sin(2 * np.pi * 0.7 * t)
    )
    phrase = 1 / (1 + np.exp(-6 * np.sin(2 * np.pi * t / rng.uniform(1.8, 3.0) + rng.uniform(0, 6)) - 3))
    return beat**1.3 * phrase * rng.uniform(0.6, 1.0)


def voice(rng: np.random.Generator, speech: Array, fps: float) -> Array:
    """A humming voice (samples,) float32 in -1..1 that follows the mouth: a buzz through three resonances."""
    count = int(len(speech) / fps * SOUND_HZ)
    t = np.arange(count) / SOUND_HZ
    pitch = rng.uniform(95, 210) * (1 + 0.06 * np.sin(2 * np.pi * rng.uniform(0.6, 1.2) * t))
    phase = 2 * np.pi * np.cumsum(pitch) / SOUND_HZ
    level = np.interp(t, np.arange(len(speech)) / fps, speech)
    out = np.zeros(count)
    formants = np.array([rng.uniform(450, 750), rng.uniform(1000, 1700), rng.uniform(2300, 2900)])
    for k in range(1, 28):
        gain = sum(np.exp(-(((k * pitch.mean() - f) / (90 + 0.06 * f)) ** 2)) for f in formants) + 0.05
        out += gain / k**0.6 * np.sin(k * phase)
    out = out / np.abs(out).max() * level * 0.4 + rng.normal(0, 0.004, count)
    return out.astype(np.float32)


def degrade(frame: Array, shrink: float) -> Array:
    """Quality loss: downsample slightly, then upsample."""
    if shrink <= 1:
        return frame
    h, w = frame.shape[:2]
    small = cv2.resize(frame, (round(w / shrink), round(h / shrink)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)


def write(path: Path, frames: list[Array], tape: Tape, sound: Array | None) -> None:
    """Encode once: H.264 High, yuv420p, key frame only at 0 within 250; AAC mono if there is audio."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as box:
        picture = box.add_stream("libx264", rate=tape.fps)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        picture.thread_count = 1
        # mbtree off: at 360 pixels width x264 reads memory it never wrote there, and no two files are alike
        picture.options = {
            "mbtree": "0",
            "crf": str(tape.crf),
            "preset": "medium",
            "profile": "high",
            "g": "250",
            "sc_threshold": "0",
        }
        voice_track = None
        if sound is not None:
            voice_track = box.add_stream("aac", rate=SOUND_HZ, layout="mono")
            voice_track.bit_rate = 24000
        for frame in frames:
            shot = av.VideoFrame.from_ndarray(degrade(frame, tape.shrink), format="bgr24")
            box.mux(picture.encode(shot))
        box.mux(picture.encode(None))
        if voice_track is not None:
            clip = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            clip.sample_rate, clip.pts = SOUND_HZ, 0
            box.mux(voice_track.encode(clip))
            box.mux(voice_track.encode(None))
