"""Folders of video files: how frames are cut, what happens to broken files, what is kept for the next run."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from recycle_jax.data.decoded import default_cache
from recycle_jax.data.geometry import FrameRule, resize_clip
from recycle_jax.data.videos import decode_clip, load_folder
from recycle_jax.io.video import read_video, write_mp4
from tests.video_files import encode, moving, overwrite, packets

SMALL = FrameRule(height=16, width=16)


def halves(frames=12, height=32, width=64):
    """A clip that is red on the left and blue on the right, brighter from frame to frame."""
    clip = np.zeros((frames, height, width, 3), np.uint8)
    level = np.linspace(60, 200, frames).astype(np.uint8)[:, None, None]
    clip[:, :, : width // 2, 0], clip[:, :, width // 2 :, 2] = level, level
    return clip


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "videos"
    for name in ("cats/a.mp4", "cats/deep/b.MP4", "dogs/c.mp4"):
        write_mp4(root / name, halves(), fps=10)
    (root / "notes.txt").write_text("not a video")
    return root


def test_reads_a_tree_with_domains_from_folder_names(folder, tmp_path):
    source = load_folder(folder, SMALL, cache=tmp_path / "cache", min_frames=4)
    assert source.names == ("cats/a.mp4", "cats/deep/b.MP4", "dogs/c.mp4")
    assert [source.domains[label] for label in source.labels] == ["cats", "deep", "dogs"]
    assert source.shape == (16, 16, 3)
    assert source.windows(4) == 3 * 9
    assert source.skipped == ()


def test_cropping_keeps_proportions_and_stretching_keeps_everything(tmp_path):
    disc = np.zeros((4, 32, 64, 3), np.uint8)
    disc[:, :, :12] = 255
    path = write_mp4(tmp_path / "bars.mp4", disc)
    cropped = decode_clip(path, SMALL)
    stretched = decode_clip(path, FrameRule(height=16, width=16, crop=False))
    assert cropped.max() < 30, "the middle square holds nothing of the bar at the left"
    assert stretched[0, 8, 0].min() > 220
    assert stretched[0, 8, 6].max() < 30


def test_frame_rate_and_length_limits(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", halves(frames=30), fps=30)
    brightness = decode_clip(path, SMALL)[:, 8, 2, 0].astype(int)
    slower = decode_clip(path, FrameRule(height=16, width=16, fps=10))[:, 8, 2, 0]
    assert len(brightness) == 30
    np.testing.assert_array_equal(slower, brightness[::3])
    assert len(decode_clip(path, FrameRule(height=16, width=16, fps=12))) == 12
    held = decode_clip(path, FrameRule(height=16, width=16, fps=60))[:, 8, 2, 0]
    np.testing.assert_array_equal(held, np.repeat(brightness, 2))
    assert len(decode_clip(path, FrameRule(height=16, width=16, max_frames=7))) == 7


def test_a_second_run_reads_the_cache(folder, tmp_path, monkeypatch):
    first = load_folder(folder, SMALL, cache=tmp_path / "cache")
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".npz"], "no temporary file is left"
    monkeypatch.setattr("recycle_jax.data.videos._decode_all", lambda *_: pytest.fail("decoded again"))
    second = load_folder(folder, SMALL, cache=tmp_path / "cache", stride=2)
    assert second.names == first.names
    np.testing.assert_array_equal(second.clips[1], first.clips[1])


def test_the_cache_follows_files_and_settings(folder, tmp_path):
    cache = tmp_path / "cache"
    load_folder(folder, SMALL, cache=cache)
    load_folder(folder, FrameRule(height=16, width=16, crop=False), cache=cache)
    os.utime(folder / "dogs/c.mp4", ns=(1, 1))
    load_folder(folder, SMALL, cache=cache)
    assert len(list(cache.iterdir())) == 3


def test_a_broken_cache_is_made_again(folder, tmp_path):
    cache = tmp_path / "cache"
    whole = load_folder(folder, SMALL, cache=cache)
    file = next(cache.iterdir())
    file.write_bytes(file.read_bytes()[:500])
    with pytest.warns(UserWarning, match="decoding again"):
        again = load_folder(folder, SMALL, cache=cache)
    np.testing.assert_array_equal(again.clips[0], whole.clips[0])


def test_an_unwritable_cache_only_warns(folder, tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.warns(UserWarning, match="cannot write .*the next run decodes again"):
        source = load_folder(folder, SMALL, cache=tmp_path / "cache")
    assert len(source.clips) == 3


def test_a_corrupt_file_is_named_skipped_and_counted(folder, tmp_path):
    (folder / "dogs/broken.mp4").write_bytes((folder / "dogs/c.mp4").read_bytes()[:700])
    for _ in ("decoded", "from the cache"):
        with pytest.warns(UserWarning, match=r"(?s)1 of 4 files.*broken\.mp4.*left out"):
            source = load_folder(folder, SMALL, cache=tmp_path / "cache", max_bad_fraction=0.3)
        assert len(source.clips) == 3
        assert len(source.skipped) == 1
    with pytest.raises(ValueError, match=r"(?s)broken\.mp4.*at most 10% may be bad"):
        load_folder(folder, SMALL, cache=tmp_path / "cache")


def test_a_file_cut_short_is_corrupt(tmp_path):
    data = write_mp4(tmp_path / "a.mp4", np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8))
    (tmp_path / "cut.mp4").write_bytes(data.read_bytes()[:-20000])
    with pytest.raises(ValueError, match=r"cut\.mp4"):
        decode_clip(tmp_path / "cut.mp4", SMALL)


def test_folders_without_video(tmp_path):
    with pytest.raises(ValueError, match=r"no video in .* files must end in \.mp4"):
        load_folder(tmp_path, SMALL)
    with pytest.raises(ValueError, match="is not a folder"):
        load_folder(tmp_path / "absent", SMALL)


def test_memory_is_bounded(folder, tmp_path):
    with pytest.raises(ValueError, match=r"max_bytes = 9\.001 KiB after \d of 3 files; set max_frames"):
        load_folder(folder, SMALL, cache=tmp_path / "cache", max_bytes=12 * 16 * 16 * 3 + 1)
    assert not (tmp_path / "cache").exists()
    source = load_folder(folder, SMALL, cache=tmp_path / "cache")
    assert sum(clip.nbytes for clip in source.clips) == 3 * 12 * 16 * 16 * 3
    with pytest.raises(ValueError, match=r"max_bytes = 1 KiB .* set max_frames"):
        load_folder(folder, SMALL, cache=tmp_path / "cache", max_bytes=1024)


@pytest.mark.parametrize("setting", [{"height": 0}, {"fps": 0.0}, {"max_frames": 0}])
def test_rules_are_checked(setting):
    with pytest.raises(ValueError, match=f"(?i){'size' if 'height' in setting else next(iter(setting))} is"):
        FrameRule(**{"height": 16, "width": 16, **setting})


def test_arrays_are_resized_by_the_same_rule(tmp_path):
    clip = halves()
    colour = resize_clip(clip, SMALL)
    path = write_mp4(tmp_path / "a.mp4", clip)
    assert np.abs(colour.astype(int) - decode_clip(path, SMALL).astype(int)).mean() < 4
    assert resize_clip(clip[..., :1], SMALL).shape == (12, 16, 16, 1)
    assert read_video(path).shape == clip.shape


def test_memory_is_bounded_within_one_long_file(tmp_path):
    encode(tmp_path / "v/long.mp4", np.zeros((300, 64, 64, 3), np.uint8), options={"preset": "ultrafast"})
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"max_bytes = 256 KiB after 0 of 1 files"):
            load_folder(tmp_path / "v", FrameRule(height=64, width=64), cache=tmp_path / "cache", max_bytes=2**18)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20, "the whole file would be 3.5 MiB"
    finally:
        tracemalloc.stop()


def test_a_damaged_file_gives_its_whole_pieces_and_no_window_crosses(tmp_path):
    whole = encode(tmp_path / "v/a.mp4", moving(60), fps=10, gop=20)
    at, size, _ = packets(whole)[25]
    overwrite(whole, whole, at, bytes(size))
    for _ in ("decoded", "from the cache"):
        with pytest.warns(UserWarning, match=r"(?s)1 places .* no window crosses them:.*a\.mp4: damaged .*after 2"):
            source = load_folder(tmp_path / "v", FrameRule(height=64, width=64), cache=tmp_path / "cache")
        first, second = source.clips
        assert source.names == (f"a.mp4[0:{len(first)}]", f"a.mp4[{len(first)}:{len(first) + 20}]")
        assert 20 <= len(first) <= 25 and len(second) == 20
        assert len(source.skipped) == 1
        assert source.windows(8) == len(first) - 7 + 13
    with pytest.raises(ValueError, match=r"a\.mp4: damaged"):
        decode_clip(whole, SMALL)


def test_uneven_frame_rates_are_said(tmp_path):
    for name, fps, count in (("slow", 10, 20), ("fast", 30, 60)):
        encode(tmp_path / f"v/{name}.mp4", halves(count), fps=fps)
    cache = tmp_path / "cache"
    with pytest.warns(UserWarning, match=r"frame rates differ, from 10 a second \(slow\.mp4\) to 30"):
        load_folder(tmp_path / "v", SMALL, cache=cache)
    with pytest.warns(UserWarning, match=r"1 files have fewer than fps = 24 frames a second"):
        source = load_folder(tmp_path / "v", FrameRule(height=16, width=16, fps=24), cache=cache)
    assert source.lengths.tolist() == [48, 48], "two seconds each"
    assert load_folder(tmp_path / "v", FrameRule(height=16, width=16, fps=10), cache=cache).lengths.tolist() == [20, 20]


def test_links_read_once_are_said(folder, tmp_path):
    (folder / "birds").symlink_to(folder / "dogs")
    with pytest.warns(UserWarning, match=r"(?s)1 links are read once.*birds/c\.mp4 is the same file"):
        source = load_folder(folder, SMALL, cache=tmp_path / "cache")
    assert len(source.clips) == 3
    assert len(source.skipped) == 1


def test_unreadable_and_empty_files_count_as_bad(folder, tmp_path):
    (folder / "dogs/empty.mp4").touch()
    (folder / "gone.mp4").symlink_to("nowhere.mp4")
    with pytest.warns(UserWarning, match=r"(?s)2 of 5 files.*empty\.mp4 is empty.*gone\.mp4 is a link.*left out"):
        source = load_folder(folder, SMALL, cache=tmp_path / "cache", max_bad_fraction=0.5)
    assert len(source.clips) == 3
    with pytest.raises(ValueError, match="2 of 5 files"):
        load_folder(folder, SMALL, cache=tmp_path / "cache")


def test_names_that_are_not_text_can_be_split(folder, tmp_path):
    odd = os.path.join(os.fsencode(folder), b"caf\xe9.mp4")
    with open(odd, "wb") as file:
        file.write((folder / "dogs/c.mp4").read_bytes())
    source = load_folder(folder, SMALL, cache=tmp_path / "cache", domain=lambda path: str(path.exists()))
    assert "caf\\xe9.mp4" in source.names
    assert source.domains == ("True",), "the domain is told the path as it is"
    source.split(0.5)


def test_the_default_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "recycle_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home/.cache/recycle_jax"


@pytest.mark.parametrize("home", ["a file in the way", "not writable", "unknown user"])
def test_without_a_home_the_cache_lies_with_temporary_files(folder, monkeypatch, tmp_path, home):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if home == "a file in the way":
        (tmp_path / "home").touch()
    elif home == "not writable":
        monkeypatch.setattr("os.access", lambda *_: False)
    else:
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
        monkeypatch.setattr(Path, "expanduser", lambda path: path)
    assert default_cache().parent == tmp_path / "temporary"
    load_folder(folder, SMALL)
    assert list(default_cache().iterdir())
