"""People who do not exist, drawn and spoken by formulas: enough identity to learn, enough nuisance to need it.

A made face is a handful of shapes whose proportions and colours are the person's, under light, pose, expression,
background and camera noise of the moment. A made voice is a pulse train through resonances: pitch and vocal tract
are the person's, the sequence of vowels, their timing and the room are the moment's.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import signal

RATE_HZ = 16_000
SIDE_PX = 112
VOWELS_HZ = np.array(
    [[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410]]
)


def made_face(person: int, sample: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """(112, 112, 3) uint8 RGB: one photo of a person, as if aligned."""
    who, now = np.random.default_rng([seed, person]), np.random.default_rng([seed, person, sample, 1])
    skin = np.array([who.uniform(120, 235), who.uniform(90, 190), who.uniform(70, 160)])
    hair, iris = who.uniform(10, 200, 3), who.uniform(20, 180, 3)
    eyes_apart, eye_size, brow = who.uniform(15, 24), who.uniform(3.5, 8), who.uniform(-5, 5)
    wide, tall, nose, mouth = who.uniform(30, 44), who.uniform(42, 56), who.uniform(6, 18), who.uniform(9, 22)
    fringe, jaw = who.uniform(8, 30), who.uniform(0.6, 1.0)

    image = np.empty((SIDE_PX, SIDE_PX, 3))
    image[:] = now.uniform(0, 255, 3)
    dx, dy = now.normal(0, 2, 2)
    centre = np.array([56 + dx, 60 + dy])

    def oval(
        at: tuple[float, float], axes: tuple[float, float], colour: NDArray[np.float64], turn: float = 0
    ) -> None:
        place = tuple(int(v * 16) for v in (centre + at))
        cv2.ellipse(
            image, place, tuple(int(v * 16) for v in axes), turn, 0, 360, colour.tolist(), -1, cv2.LINE_AA, 4
        )

    oval((0, -6), (wide + 4, tall + 3), hair)
    oval((0, 0), (wide, tall * jaw), skin)
    oval((0, -tall + fringe / 2), (wide * 0.9, fringe / 2), hair)
    for side in (-1, 1):
        oval((side * eyes_apart, -10), (eye_size * 1.5, eye_size * now.uniform(0.6, 1.0)), np.full(3, 240.0))
        oval((side * eyes_apart + now.normal(0, 1), -10), (eye_size * 0.7,) * 2, iris)
        oval((side * eyes_apart, -22 + brow * 0.3), (eye_size * 1.8, 1.8), hair * 0.7, side * brow * 3)
    oval((0, 6), (3.5, nose), skin * 0.8)
    oval((0, 28), (mouth, now.uniform(2, 6)), np.array([170.0, 60.0, 70.0]))

    turn = cv2.getRotationMatrix2D((56, 56), float(now.normal(0, 4)), float(now.uniform(0.94, 1.06)))
    image = cv2.warpAffine(image, turn, (SIDE_PX, SIDE_PX), borderMode=cv2.BORDER_REPLICATE)
    slope = np.linspace(-1, 1, SIDE_PX) * now.normal(0, 0.25)
    light = now.uniform(0.55, 1.3) * (1 + slope)[None, :, None] * now.uniform(0.85, 1.15, 3)
    image = image * light + now.normal(0, 9, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def made_voice(person: int, sample: int, *, seconds: float = 1.5, seed: int = 0) -> NDArray[np.int16]:
    """(N,) int16 at 16 kHz: one utterance of a person."""
    who, now = np.random.default_rng([seed, person, 7]), np.random.default_rng([seed, person, sample, 8])
    pitch_hz, tract = who.uniform(85, 255), who.uniform(0.82, 1.2)
    own = who.uniform(0.93, 1.07, 3)  # habits of this mouth, beyond its size
    widths_hz, tilt = who.uniform(50, 160, 3), who.uniform(0.90, 0.985)
    pieces = []
    while sum(map(len, pieces)) < seconds * RATE_HZ:
        count = int(now.uniform(0.12, 0.3) * RATE_HZ)
        melody = pitch_hz * (1 + 0.08 * now.normal()) * np.linspace(1, now.uniform(0.9, 1.1), count)
        pulses = np.diff(np.floor(np.cumsum(melody / RATE_HZ)), prepend=0.0)
        sound = signal.lfilter([1], [1, -tilt], pulses + 0.02 * now.normal(size=count))
        for hz, width in zip(VOWELS_HZ[now.integers(len(VOWELS_HZ))] * tract * own, widths_hz, strict=True):
            radius = np.exp(-np.pi * width / RATE_HZ)
            sound = signal.lfilter(
                [1 - radius], [1, -2 * radius * np.cos(2 * np.pi * hz / RATE_HZ), radius**2], sound
            )
        pieces.append(sound * np.hanning(count) ** 0.3)
    wave = np.concatenate(pieces)[: int(seconds * RATE_HZ)]
    wave = wave / np.sqrt(np.mean(wave**2)) * 0.06
    wave += now.normal(0, 0.06 * 10 ** (-now.uniform(15, 30) / 20), wave.shape)
    return np.clip(wave * 32767, -32768, 32767).astype(np.int16)
