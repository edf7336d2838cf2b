"""Frames of files that are odd, damaged or put together from several recordings."""

import os

import av
import numpy as np
import pytest

from recycle_jax.io.reading import Gap, Picture, read_frames
from recycle_jax.io.video import write_mp4
from tests.video_files import brightening, encode, encode_at, moving, overwrite, packets


def read(path):
    """Returns the runs of frame times between gaps, and the gaps."""
    runs, gaps = [[]], []
    for item in read_frames(path):
        if isinstance(item, Gap):
            gaps.append(item.reason)
            runs.append([])
        else:
            runs[-1].append(round(item.time, 3))
    return [run for run in runs if run], gaps


def frames(path):
    return [item.frame.to_ndarray(format="rgb24") for item in read_frames(path) if isinstance(item, Picture)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts", "webm", "gif"])
def test_every_frame_comes_once_with_its_time(tmp_path, suffix):
    codec = {"avi": "mpeg4", "webm": "libvpx-vp9", "gif": "gif"}.get(suffix, "libx264")
    path = encode(
        tmp_path / f"a.{suffix}", brightening(20), codec, fps=10, pix_fmt="rgb8" if suffix == "gif" else "yuv420p"
    )
    (run,), gaps = read(path)
    assert gaps == []
    np.testing.assert_allclose(np.diff(run), 0.1, atol=2e-3)
    assert len(run) == 20


def test_tags_in_any_encoding(tmp_path):
    path = encode(
        tmp_path / "a.mp4", brightening(4), prepare=lambda container, _: container.metadata.update(title="an ascii")
    )
    path.write_bytes(path.read_bytes().replace(b"an ascii", b"caf\xe9 \xff\xfe1"))
    assert len(frames(path)) == 4


def test_the_video_is_found_among_other_streams(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        small = container.add_stream("libx264", rate=10)
        main = container.add_stream("libx264", rate=10)
        container.add_attachment("font.ttf", "application/x-truetype-font", b"not a font")
        for stream, side in ((small, 16), (main, 64)):
            stream.height = stream.width = side
            stream.pix_fmt = "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 8000
        container.mux(sound.encode(silence))
        for stream, side in ((small, 16), (main, 64)):
            for _ in range(3):
                noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        for stream in (sound, small, main):
            container.mux(stream.encode(None))
    assert [frame.shape for frame in frames(path)] == [(64, 64, 3)] * 3


def test_a_cover_picture_is_no_video(tmp_path):
    def cover_first(container, stream):
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 64, 96, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))

    path = encode(tmp_path / "a.mp4", brightening(5), prepare=cover_first)
    assert [frame.shape for frame in frames(path)] == [(32, 48, 3)] * 5


def test_sound_alone_is_named(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"a\.mp4 holds no video"):
        read(path)


@pytest.mark.parametrize("name", ["12:30:45.mp4", "file:a.mp4", "-", "100%d.mp4", "a\nb.mp4", "видео.mp4"])
def test_names_that_look_like_something_else(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(encode(tmp_path / "source.mp4", brightening(4)).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(frames(name)) == 4


def test_files_that_hold_nothing_are_named(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(b"\0" * 1000)
    with pytest.raises(ValueError, match=r"empty\.mp4 is empty \(0 bytes\)"):
        read(tmp_path / "empty.mp4")
    with pytest.raises(ValueError, match=r"noise\.mp4 cannot be decoded: .*not complete, or not video"):
        read(tmp_path / "noise.mp4")
    with pytest.raises(ValueError, match=r"absent\.mp4 cannot be decoded: No such file"):
        read(tmp_path / "absent.mp4")


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9")]
)
def test_what_is_whole_around_damage_is_used(tmp_path, name, codec):
    whole = encode(tmp_path / name, moving(60), codec, fps=2, gop=10)
    at, size, _ = next(packet for packet in packets(whole)[25:] if packet[1] > 200)
    junk = np.random.default_rng(1).integers(0, 256, size, np.uint8).tobytes()
    damaged = overwrite(whole, tmp_path / f"bad_{name}", at, junk)
    sound, runs_gaps = frames(whole), read(damaged)
    (before, after), (gap,) = runs_gaps
    assert "damaged" in gap and "whole again from" in gap
    assert len(before) >= 10 and len(after) >= 10
    by_time = {round(item.time, 3): index for index, item in enumerate(read_frames(whole))}
    kept = [item for item in read_frames(damaged) if isinstance(item, Picture)]
    for item in kept:
        expected = sound[by_time[round(item.time, 3)]]
        np.testing.assert_array_equal(item.frame.to_ndarray(format="rgb24"), expected, err_msg=f"at {item.time} s")


def test_a_file_cut_short_gives_its_beginning(tmp_path):
    whole = write_mp4(tmp_path / "a.mp4", brightening(60), fps=10)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: packets(whole)[40][0]])
    (run,), (gap,) = read(cut)
    assert 30 <= len(run) <= 40
    assert "up to the end" in gap


def test_lost_packets_of_a_transport_stream_are_a_gap(tmp_path):
    whole = encode(tmp_path / "a.ts", brightening(60), fps=10, gop=20, options={"bf": "0", "sc_threshold": "0"})
    raw, (start, _, _), (stop, _, _) = whole.read_bytes(), packets(whole)[25], packets(whole)[28]
    assert (stop - start) % 188 == 0
    (tmp_path / "lost.ts").write_bytes(raw[:start] + raw[stop:])
    (before, after), (gap,) = read(tmp_path / "lost.ts")
    assert len(before) <= 25 and len(after) == 20
    assert "whole again" in gap


def test_recordings_put_end_to_end_are_kept_apart(tmp_path):
    one = encode(tmp_path / "a.ts", brightening(30), fps=10)
    (tmp_path / "two.ts").write_bytes(one.read_bytes() * 2)
    runs, gaps = read(tmp_path / "two.ts")
    assert len(gaps) >= 1
    assert max(map(len, runs)) <= 30


def test_a_long_pause_is_a_border(tmp_path):
    runs, gaps = read(encode_at(tmp_path / "a.mp4", [0, 100, 200, 60_000, 60_100]))
    assert [len(run) for run in runs] == [3, 2]
    assert gaps == ["no picture from 0.20 s to 60.00 s"]


def test_frames_without_times_are_evenly_apart(tmp_path):
    path = tmp_path / "a.h264"
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for frame in brightening(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    (run,), _ = read(path)
    assert len(run) == 6
    assert len(set(np.diff(run).round(4))) == 1 and run[1] > run[0]


def test_names_that_are_not_text(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    with open(path, "wb") as file:
        file.write(encode(tmp_path / "source.mp4", brightening(4)).read_bytes())
    assert len(frames(os.fsdecode(path))) == 4
