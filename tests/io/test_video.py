"""Video files written and read back, and clips next to each other."""

import builtins
import errno
import os
import re
import subprocess
import sys

import av
import numpy as np
import pytest

from recycle_jax.io.reading import Picture, read_frames
from recycle_jax.io.video import (
    FRAGMENT_FRAMES,
    GAP,
    LABEL_HEIGHT,
    Mp4Writer,
    read_video,
    side_by_side,
    to_uint8,
    write_mp4,
)


def gradients(frames=6, height=24, width=32):
    """Smooth colours that move; H.264 keeps them nearly exactly."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    return np.stack([8 * x, 10 * y, 20 * t + 40], axis=-1).astype(np.uint8)


def frames_of(path):
    return [item for item in read_frames(path) if isinstance(item, Picture)]


def test_colours_survive(tmp_path):
    clip = gradients()
    read = read_video(write_mp4(tmp_path / "a.mp4", clip, fps=5))
    assert read.shape == clip.shape
    assert np.abs(read.astype(int) - clip.astype(int)).mean() < 4


def test_the_colour_matrix_is_the_one_the_file_names(tmp_path):
    clip = np.broadcast_to(np.array([[200, 60, 30]], np.uint8), (2, 16, 16, 3))
    read = read_video(write_mp4(tmp_path / "a.mp4", clip))
    assert np.abs(read.astype(int) - clip).max() <= 4, "reds turn orange when writer and reader disagree"


def test_the_format_plays_in_browsers(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", gradients(), fps=12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == 12.5
        assert stream.frames == 6
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index comes first, so that playing starts at once"


def test_floats_scale_and_odd_sizes(tmp_path):
    clip = np.linspace(-1, 1, 5 * 7 * 9).reshape(5, 7, 9, 1).astype(np.float32)
    read = read_video(write_mp4(tmp_path / "a.mp4", clip, scale=3))
    assert read.shape == (5, 22, 28, 3), "padded by one row and one column to even sizes"
    expected = to_uint8(clip).repeat(3, 1).repeat(3, 2)
    assert np.abs(read[:, :21, :27].astype(int) - expected.astype(int)).mean() < 4


def test_frames_are_read_one_at_a_time(tmp_path):
    alive = []

    def frames():
        for level in range(8):
            alive.append(level)
            yield np.full((16, 16, 3), 30 * level, np.uint8)

    assert len(read_video(write_mp4(tmp_path / "a.mp4", frames()))) == 8
    assert alive == list(range(8))


def test_the_same_frames_give_the_same_bytes(tmp_path):
    one, two = (write_mp4(tmp_path / name, gradients()).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert one == two


def test_a_failure_keeps_the_old_video(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", gradients())
    old = path.read_bytes()

    def breaks():
        yield from gradients()
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match=r"a\.mp4: No space left on device; free some space"):
        write_mp4(path, breaks())
    with pytest.raises(ValueError, match=r"frame size changes from \(16, 16, 3\) to \(8, 16, 3\)"):
        write_mp4(path, iter([np.zeros((16, 16, 3), np.uint8), np.zeros((8, 16, 3), np.uint8)]))
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_growing_file_can_be_played_at_any_moment(tmp_path):
    clip = gradients(frames=40)
    with Mp4Writer(tmp_path / "deep/er/a.mp4", fps=5) as writer:
        for count, frame in enumerate(clip, start=1):
            writer.append(frame)
            if count % 7 == 0 and count > FRAGMENT_FRAMES:
                (tmp_path / "copy.mp4").write_bytes(writer.path.read_bytes())
                read = read_video(tmp_path / "copy.mp4")
                assert count - FRAGMENT_FRAMES <= len(read) <= count
                assert np.abs(read.astype(int) - clip[: len(read)]).mean() < 4
        assert writer.frames == 40
    read = read_video(tmp_path / "deep/er/a.mp4")
    assert read.shape == clip.shape
    assert np.abs(read.astype(int) - clip.astype(int)).mean() < 4


def test_a_growing_file_cut_anywhere_gives_the_frames_before(tmp_path):
    with Mp4Writer(tmp_path / "a.mp4") as writer:
        for frame in gradients(frames=30):
            writer.append(frame)
    data = writer.path.read_bytes()
    heads, bodies = ([found.start() - 4 for found in re.finditer(name, data)] for name in (b"moof", b"mdat"))
    ends = [*heads[1:], data.index(b"mfra") - 4]
    assert len(heads) >= 30 // FRAGMENT_FRAMES
    for count, (body, end) in enumerate(zip(bodies, ends, strict=True)):
        for cut, least in ((end, count + 1), ((body + end) // 2, count)):
            (tmp_path / "cut.mp4").write_bytes(data[:cut])
            read = frames_of(tmp_path / "cut.mp4") if least else []
            assert min(FRAGMENT_FRAMES * least, 30) <= len(read) <= FRAGMENT_FRAMES * (count + 1)


def test_a_writer_that_fails_keeps_what_it_has(tmp_path):
    def write(name, frames):
        with Mp4Writer(tmp_path / name) as writer:
            for frame in frames:
                writer.append(frame)

    with pytest.raises(ZeroDivisionError):
        write("a.mp4", (np.full((16, 16, 1), 1.0 / left) for left in (1, 0)))
    assert len(read_video(tmp_path / "a.mp4")) == 1
    with pytest.raises(ValueError, match=r"frame size changes from \(16, 16, 3\) to \(16, 18, 3\)"):
        write("b.mp4", [np.zeros((16, 16, 3)), np.zeros((16, 18, 3))])
    assert len(read_video(tmp_path / "b.mp4")) == 1
    write("none.mp4", [])
    assert not (tmp_path / "none.mp4").exists(), "without a frame there is no size, so no file"
    (tmp_path / "way").touch()
    with pytest.raises(OSError, match="cannot write .*a file stands where a directory is needed"):
        write("way/c.mp4", [np.zeros((16, 16, 3))])


@pytest.mark.parametrize("name", ["12:30.mp4", "file:a.mp4", "100%d.mp4"])
def test_names_that_look_like_something_else_are_written(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert len(read_video(write_mp4(name, gradients()))) == 6
    with Mp4Writer(name) as writer:
        writer.append(gradients()[0])
    assert os.listdir(tmp_path) == [name]


def test_without_pyav_the_install_command_is_named(tmp_path, monkeypatch):
    whole = builtins.__import__

    def lacks_av(name, *rest):
        if name == "av" or name.startswith("av."):
            raise ModuleNotFoundError("No module named 'av'", name="av")
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacks_av)
    for call in (
        lambda: read_video("a.mp4"),
        lambda: write_mp4(tmp_path / "a.mp4", gradients()),
        lambda: Mp4Writer("a"),
    ):
        with pytest.raises(ImportError, match=r'pip install "recycle_jax\[video\]"'):
            call()


def test_the_library_is_imported_without_pyav():
    script = (
        "import sys; sys.modules['av'] = None\n"
        "import numpy as np, recycle_jax, recycle_jax.data.videos\n"
        "from recycle_jax.data.arrays import from_arrays\n"
        "from_arrays([np.zeros((4, 8, 8, 3), np.uint8)]).batch(0, 1, 2)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=os.getcwd())


@pytest.mark.parametrize(
    ("frames", "settings", "message"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), {}, "no frames to write"),
        (np.zeros((2, 8, 8, 2), np.uint8), {}, r"a frame has shape \(8, 8, 2\)"),
        (np.zeros((2, 8, 8, 3), np.int32), {}, "frames are int32"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"scale": 0}, "scale is 0"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"fps": 0}, "fps is 0"),
    ],
)
def test_bad_frames_are_refused(tmp_path, frames, settings, message):
    with pytest.raises(ValueError, match=message):
        write_mp4(tmp_path / "a.mp4", frames, **settings)
    assert not list(tmp_path.iterdir())


def test_broken_files_are_named(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(b"\0" * 1000)
    with pytest.raises(ValueError, match=r"noise\.mp4 cannot be decoded"):
        read_video(tmp_path / "noise.mp4")


def test_out_of_range_values_are_shown_as_the_nearest():
    values = np.array([-7.0, -1.0, 0.0, 1.0, 7.0, np.inf, -np.inf, np.nan], np.float32)
    assert to_uint8(values).tolist() == [0, 0, 128, 255, 255, 255, 0, 0]


def test_columns_stand_side_by_side_under_their_labels():
    left, right = np.full((3, 8, 8, 3), -1.0), np.full((3, 8, 8, 1), 200, np.uint8)
    frames = list(side_by_side({"truth": left, "recycled": right}, scale=6))
    assert len(frames) == 3
    assert frames[0].shape == (LABEL_HEIGHT + 48, 48 + GAP + 48, 3)
    assert frames[0].dtype == np.uint8
    assert (frames[0][LABEL_HEIGHT:, :48] == 0).all()
    assert (frames[0][LABEL_HEIGHT:, 48 + GAP :] == 200).all()
    banner = frames[0][:LABEL_HEIGHT]
    assert banner[:, :48].max() > 150
    assert banner[:, 48 + GAP :].max() > 150


def test_columns_must_be_equally_long():
    with pytest.raises(ValueError, match=r"lengths are \{'a': 2, 'b': 3\}"):
        list(side_by_side({"a": np.zeros((2, 4, 4, 3)), "b": np.zeros((3, 4, 4, 3))}))
    with pytest.raises(ValueError, match="at least one clip"):
        list(side_by_side({}))
    streams = {"a": iter(np.zeros((2, 4, 4, 3))), "b": iter(np.zeros((3, 4, 4, 3)))}
    with pytest.raises(ValueError, match="longer|shorter"):
        list(side_by_side(streams))
