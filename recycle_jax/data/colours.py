"""High dynamic range and wide colours as an ordinary screen shows them (BT.709), on frames that are small already.

A signal becomes light, light in other primaries becomes light in those of BT.709, and that becomes a signal again.
Light is relative to the white of a page, 203 nits in high dynamic range (ITU-R BT.2408). What is brighter than a knee
is compressed, hue kept:

    m' = k + (1 - k) (1 - exp(-(m - k) / (1 - k)))     for the largest m of the three colours above k = 3/4       (1)

Sources: SMPTE ST 2084 (PQ), ITU-R BT.2100 (PQ and HLG), BT.2020, BT.1886 (the curve of ordinary screens), SMPTE
EG 432-1 (P3). FFmpeg can do the same, but spends seconds on a table for every file and size.
"""

from typing import Any

import numpy as np

PQ, HLG = 16, 18
WHITE_NITS, HLG_PEAK_NITS, SCREEN_GAMMA, KNEE = 203.0, 1000.0, 2.4, 0.75
INTENSITY_COLOURS = {14, 15}  # FFmpeg's numbers of ICtCp and IPT-C2, which Dolby Vision uses
D65 = (0.3127, 0.3290)
BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
WIDE = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # P3 with the white of screens
}
"""Chromaticities of red, green and blue, by FFmpeg's number of the primaries."""


def is_ordinary(frame: Any) -> bool:
    """Whether a decoded frame needs no conversion.

    Raises:
        ValueError: colours that cannot be converted here.
    """
    if frame.colorspace in INTENSITY_COLOURS:
        raise ValueError(
            "the colours are those of Dolby Vision (ICtCp), which cannot be converted here: convert the file to "
            "ordinary colours (BT.709) first"
        )
    return frame.color_trc not in (PQ, HLG) and frame.color_primaries not in WIDE


def to_ordinary(signal: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Converts `[h, w, 3]` uint16 red, green and blue to uint8.

    Args:
        signal: the whole range of uint16 is the signal's from black to its peak.
        transfer: FFmpeg's number of the transfer curve; all but PQ and HLG count as ordinary ones.
        primaries: FFmpeg's number of the primaries.
    """
    light = _light(signal.astype(np.float64) / 65535.0, transfer)
    if primaries in WIDE:
        light = light @ (np.linalg.inv(_to_xyz(BT709)) @ _to_xyz(WIDE[primaries])).T
    light = np.maximum(light, 0.0)
    if transfer in (PQ, HLG):
        brightest = light.max(axis=-1, keepdims=True)
        light = light * (_compressed(brightest) / np.maximum(brightest, 1e-9))
    return np.rint(np.minimum(light, 1.0) ** (1 / SCREEN_GAMMA) * 255.0).astype(np.uint8)


def _light(signal: np.ndarray, transfer: int) -> np.ndarray:
    """Light relative to white."""
    if transfer == PQ:
        power = signal ** (32 / 2523)
        base = np.maximum(power - 3424 / 4096, 0.0) / (2413 / 128 - 2392 / 128 * power)
        return 10_000.0 / WHITE_NITS * base ** (16384 / 2610)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
        return HLG_PEAK_NITS / WHITE_NITS * luminance[..., None] ** 0.2 * scene
    return signal**SCREEN_GAMMA


def _compressed(brightest: np.ndarray) -> np.ndarray:
    """Equation (1)."""
    above = np.maximum(brightest - KNEE, 0.0)
    return np.where(above > 0, KNEE + (1 - KNEE) * (1 - np.exp(-above / (1 - KNEE))), brightest)


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    columns = np.array([_xyz(*point) for point in primaries]).T
    return columns * np.linalg.solve(columns, _xyz(*D65))


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1.0, (1 - x - y) / y])
