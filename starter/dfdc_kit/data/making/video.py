"""Sound, loss of quality and encoding of made clips, the same for real and fake."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from dfdc_kit.data.making.people import Array, Image

SOUND_HZ = 44100


@dataclass(frozen=True)
class Encoding:
    """How the clips of a pair are stored."""

    fps: Fraction
    crf: int  # x264: 0 lossless .. 51 worst
    shrink: float  # down- and upsampling factor before the encode


def random_loudness(rng: np.random.Generator, times_s: Array) -> Array:
    """How wide the mouth is in each frame (n,), 0..1: syllables in short phrases."""
    wobble = 1.5 * np.sin(2 * np.pi * 0.7 * times_s)
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(3.0, 4.2) * times_s + rng.uniform(0, 6) + wobble)
    phrase = 1 / (1 + np.exp(-6 * np.sin(2 * np.pi * times_s / rng.uniform(1.8, 3.0) + rng.uniform(0, 6)) - 3))
    return np.asarray(beat**1.3 * phrase * rng.uniform(0.5, 1.0), np.float32)


def voice(rng: np.random.Generator, loudness: Array, fps: float) -> Array:
    """A humming voice (samples,) in -1..1 as loud as the mouth is wide: a buzz through three resonances."""
    count = int(len(loudness) / fps * SOUND_HZ)
    t = np.arange(count, dtype=np.float32) / SOUND_HZ
    hum_hz, wobble_hz = rng.uniform(95, 210), rng.uniform(0.6, 1.2)
    phase = 2 * np.pi * np.cumsum(hum_hz * (1 + 0.06 * np.sin(2 * np.pi * wobble_hz * t))) / SOUND_HZ
    formants = np.array([rng.uniform(450, 750), rng.uniform(1000, 1700), rng.uniform(2300, 2900)])
    k = np.arange(1, 22)
    gains = np.exp(-(((k[:, None] * hum_hz - formants) / (90 + 0.06 * formants)) ** 2)).sum(1) + 0.05
    table_phase = np.linspace(0, 2 * np.pi, 1024, endpoint=False)
    table = (gains / k**0.6) @ np.sin(k[:, None] * table_phase)  # one period of the buzz
    buzz = table[(phase / (2 * np.pi) * 1024).astype(np.int64) % 1024]
    level = np.interp(t, np.arange(len(loudness)) / fps, loudness)
    sound = buzz / np.abs(table).max() * level * 0.4 + rng.standard_normal(count, np.float32) * 0.004
    return np.asarray(sound, np.float32)


def _soften(frame: Image, shrink: float) -> Image:
    if shrink <= 1:
        return frame
    h, w = frame.shape[:2]
    small = cv2.resize(frame, (round(w / shrink), round(h / shrink)), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)


def write_clip(path: Path, frames: Iterable[Image], encoding: Encoding, sound: Array | None) -> None:
    """Encode (h, w, 3) BGR frames of even size once: H.264 High, yuv420p, key frames 250 apart; AAC mono if `sound`."""
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as file:
        picture = file.add_stream("libx264", rate=encoding.fps)
        picture.pix_fmt, picture.thread_count = "yuv420p", 1
        # mbtree off: at a width of 360 x264 reads memory that it never wrote there, and no two files are alike
        picture.options = {
            "mbtree": "0",
            "crf": str(encoding.crf),
            "preset": "ultrafast",
            "x264-params": "cabac=1:no-deblock=0:8x8dct=1",  # as files of the challenge, at little cost
            "profile": "high",
            "g": "250",
            "sc_threshold": "0",
        }
        track = None
        if sound is not None:
            track = file.add_stream("aac", rate=SOUND_HZ, layout="mono")
            track.bit_rate = 24000
            track.options = {"aac_coder": "fast"}
        for number, frame in enumerate(frames):
            if number == 0:
                picture.height, picture.width = frame.shape[:2]
            planes = cv2.cvtColor(_soften(frame, encoding.shrink), cv2.COLOR_BGR2YUV_I420)
            file.mux(picture.encode(av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")))
        file.mux(picture.encode(None))
        if track is not None and sound is not None:
            samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            samples.sample_rate, samples.pts = SOUND_HZ, 0
            file.mux(track.encode(samples))
            file.mux(track.encode(None))
