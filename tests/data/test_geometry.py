"""Training frames look as a player shows them: pixel shape, turns, mirroring, cropping, colours."""

from fractions import Fraction

import av
import numpy as np
import pytest

from recycle_jax.data.colours import to_ordinary
from recycle_jax.data.geometry import FrameRule, fit
from recycle_jax.data.videos import decode_clip
from recycle_jax.io.reading import Picture
from tests.video_files import encode

CORNERS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "W": (255, 255, 255)}


def quarters(height=32, width=48):
    """Red, green, blue and white quarters, in the order of reading."""
    clip = np.zeros((3, height, width, 3), np.uint8)
    for index, colour in enumerate(CORNERS.values()):
        rows = slice(height // 2) if index < 2 else slice(height // 2, None)
        columns = slice(width // 2) if index % 2 == 0 else slice(width // 2, None)
        clip[:, rows, columns] = colour
    return clip


def corners(frame):
    """Returns the letters of the corners, in the order of reading."""
    colours = np.array(list(CORNERS.values()))
    seen = [frame[y, x].astype(int) for y in (3, -4) for x in (3, -4)]
    return "".join(list(CORNERS)[np.abs(colours - colour).sum(axis=1).argmin()] for colour in seen)


@pytest.mark.parametrize("aspect", [Fraction(2, 1), Fraction(1, 2), Fraction(64, 45)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_circle_stays_a_circle_where_pixels_are_not_square(tmp_path, aspect, name):
    y, x = np.mgrid[:96, :96]
    disc = ((x - 47.5) * float(aspect)) ** 2 + (y - 47.5) ** 2 < 30**2 * float(min(aspect, 1)) ** 2
    clip = np.repeat((disc[..., None] * 255).astype(np.uint8), 3, -1)[None].repeat(2, 0)
    path = encode(tmp_path / name, clip, aspect=aspect)
    seen = decode_clip(path, FrameRule(height=48, width=48))[0, ..., 0] > 127
    assert abs(int(seen.any(0).sum()) - int(seen.any(1).sum())) <= 1
    assert seen.any(1).sum() >= 14


@pytest.mark.parametrize(
    ("degrees", "mirrored", "expected"),
    [
        (0, False, "RGBW"),
        (90, False, "GWRB"),
        (180, False, "WBGR"),
        (270, False, "BRWG"),
        (0, True, "GRWB"),
        (90, True, "WGBR"),
        (180, True, "BWRG"),
        (270, True, "RBGW"),
    ],
)
def test_turns_and_mirroring(tmp_path, degrees, mirrored, expected):
    path = encode(
        tmp_path / "a.mp4",
        quarters(),
        prepare=lambda _, stream: stream.set_display_rotation(degrees, hflip=mirrored),
    )
    height, width = (48, 32) if degrees % 180 else (32, 48)
    frame = decode_clip(path, FrameRule(height=height, width=width))[0]
    assert frame.shape == (height, width, 3)
    assert corners(frame) == expected, "counterclockwise, after mirroring left and right"


def test_other_turns_are_refused_by_name(tmp_path):
    path = encode(tmp_path / "a.mp4", quarters(), prepare=lambda _, stream: stream.set_display_rotation(40))
    with pytest.raises(ValueError, match=r"a\.mp4: the file asks for a turn by no multiple of 90 degrees"):
        decode_clip(path, FrameRule(height=32, width=48))


def test_cropping_by_the_container(tmp_path):
    clip = quarters()
    clip[:, :, 32:] = 0
    path = encode(tmp_path / "a.mkv", clip)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(bytes.fromhex("54b28104"), bytes.fromhex("54dd8110")))
    frame = decode_clip(path, FrameRule(height=32, width=32))[0]
    assert corners(frame) == "RGBW", "the black 16 columns at the right are cropped away"


def perceptual_quantizer(nits):
    """The signal in [0, 1] of a luminance, by SMPTE ST 2084."""
    power = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def wide_frame(signal, transfer):
    """A grey frame of BT.2020 colours in ten bits."""
    frame = av.VideoFrame(16, 16, "yuv420p10le")
    for index, plane in enumerate(frame.planes):
        level = 512 if index else round(64 + 876 * signal)
        plane.update(np.full(plane.buffer_size // 2, level, np.uint16).tobytes())
    frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, 9, 9, 1
    return frame


def shade(signal, transfer, primaries=9):
    frame = wide_frame(signal, transfer)
    frame.color_primaries = primaries
    return fit(Picture(frame=frame, time=0.0), FrameRule(height=8, width=8)).mean(axis=(0, 1))


def test_high_dynamic_range_becomes_ordinary():
    levels = [shade(perceptual_quantizer(nits), 16)[0] for nits in (0.01, 1, 50, 100, 203, 1000, 4000)]
    assert levels == sorted(levels)
    assert levels[0] <= 5
    assert levels[3] == pytest.approx(255 * (100 / 203) ** (1 / 2.4), abs=3), "below the knee light is kept"
    assert 235 <= levels[4] < levels[5] <= levels[6] <= 255, "203 nits are the white of a page, by a signal of .58"
    assert shade(0.75, 18)[0] == pytest.approx(levels[4], abs=3), "HLG has the white of a page at a signal of .75"
    assert np.ptp(shade(0.5, 16)) <= 1, "grey stays grey"


def test_ordinary_curves_keep_their_greys():
    assert shade(0.58, 14)[0] == pytest.approx(148, abs=3)
    assert shade(0.58, 1, primaries=1)[0] == pytest.approx(148, abs=3)


def test_wide_colours_are_brought_to_those_of_screens():
    green = np.zeros((2, 2, 3), np.uint16)
    green[..., 1] = 40_000
    wide, ordinary = to_ordinary(green, 1, 12), to_ordinary(green, 1, 1)
    assert wide[0, 0, 1] > ordinary[0, 0, 1] > 100
    assert wide[0, 0, 0] == 0, "a green that screens do not have is cut to the nearest"
    white = np.full((2, 2, 3), 65_535, np.uint16)
    for primaries in (1, 9, 12):
        np.testing.assert_allclose(to_ordinary(white, 1, primaries), 255, atol=1)


def test_colours_that_cannot_be_converted_are_refused():
    frame = wide_frame(0.5, 16)
    frame.colorspace = 15
    with pytest.raises(ValueError, match="Dolby Vision"):
        fit(Picture(frame=frame, time=0.0), FrameRule(height=8, width=8))
