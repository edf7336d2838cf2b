"""Interlaced and transparent frames become ordinary ones, as many as there were."""

import numpy as np
import pytest

from recycle_jax.data.frame_filters import filtered
from recycle_jax.data.geometry import FrameRule
from recycle_jax.data.videos import decode_clip
from recycle_jax.io.reading import read_frames
from tests.video_files import brightening, encode


def comb(frames=6):
    """A bar that moves between the two fields of each frame."""
    clip = np.zeros((frames, 64, 64, 3), np.uint8)
    for t in range(frames):
        clip[t, 0::2, 4 + 8 * t : 12 + 8 * t] = 255
        clip[t, 1::2, 8 + 8 * t : 16 + 8 * t] = 255
    return clip


def test_interlaced_video_has_no_comb(tmp_path):
    options = {"x264-params": "interlaced=1:tff=1"}
    path = encode(tmp_path / "a.mp4", comb(), options=options)
    clip = decode_clip(path, FrameRule(height=64, width=64))
    assert len(clip) == 6
    rows = clip[2:4, ..., 0].astype(int)
    assert np.abs(np.diff(rows, axis=1)).mean() < 2, "each row shows the same moment"
    assert rows.max() > 200


def test_filters_keep_times_and_colours(tmp_path):
    still = np.broadcast_to(np.array([200, 60, 30], np.uint8), (4, 32, 48, 3))
    pictures = {}
    for name, options in (("plain", {}), ("fields", {"x264-params": "interlaced=1:tff=1"})):
        path = encode(tmp_path / f"{name}.mp4", still, options=options)
        pictures[name] = list(filtered(read_frames(path)))
    assert [picture.time for picture in pictures["fields"]] == [picture.time for picture in pictures["plain"]]
    first, second = (pictures[name][1].frame.to_ndarray(format="rgb24").astype(int) for name in pictures)
    assert np.abs(first - second).max() <= 3


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a8.webm", "libvpx", "yuva420p"),
        ("a.mov", "qtrle", "argb"),
        ("p.mov", "prores_ks", "yuva444p10le"),
    ],
)
def test_transparent_pixels_are_shown_over_black(tmp_path, name, codec, pix_fmt):
    clip = np.zeros((3, 32, 48, 4), np.uint8)
    clip[..., 0], clip[:, :, :24, 3], clip[:, 16:, 24:, 3] = 200, 255, 128
    options = {"auto-alt-ref": "0"} if name.endswith("webm") else {}
    path = encode(tmp_path / name, clip, codec, pix_fmt=pix_fmt, options=options)
    frames = decode_clip(path, FrameRule(height=32, width=48))
    assert len(frames) == 3
    np.testing.assert_allclose(frames[1, [8, 8, 24], [8, 40, 40], 0], [200, 0, 100], atol=8)


def test_nothing_is_done_to_ordinary_frames(tmp_path):
    pictures = list(read_frames(encode(tmp_path / "a.mp4", brightening(3))))
    assert [id(picture) for picture in filtered(pictures)] == [id(picture) for picture in pictures]
