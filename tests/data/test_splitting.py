"""Held-out clips from many recordings, from few, and from one."""

import numpy as np
import pytest

from recycle_jax.data.arrays import from_arrays
from recycle_jax.data.parts import part_name, recording_name
from recycle_jax.data.splitting import split_clips


def numbered(lengths, **settings):
    """Clips whose first channel is the clip and whose second is the frame."""
    clips = [np.zeros((length, 2, 3, 3), np.uint8) for length in lengths]
    for index, clip in enumerate(clips):
        clip[..., 0], clip[..., 1] = index, np.arange(len(clip))[:, None, None]
    return from_arrays(clips, **settings)


def frames(source):
    """(clip, frame) of every frame of a source."""
    return {(int(clip[0, 0, 0, 0]), int(frame)) for clip in source.clips for frame in clip[:, 0, 0, 1]}


def test_parts_of_parts_are_counted_from_the_start_of_the_recording():
    assert part_name("a.mp4", 10, 50) == "a.mp4[10:50]"
    assert part_name("a.mp4[10:50]", 5, 20) == "a.mp4[15:30]"
    assert recording_name("x[1]/a\n.mp4[10:50]") == "x[1]/a\n.mp4"
    assert recording_name("a.mp4") == "a.mp4"


def test_the_end_of_one_recording_is_held_out():
    train, held = numbered([100], min_frames=6).split_by_time(0.25)
    assert (train.names, held.names) == (("clip00000[0:70]",), ("clip00000[76:100]",))
    assert frames(train) == {(0, frame) for frame in range(70)}
    assert frames(held) == {(0, frame) for frame in range(76, 100)}


def test_the_gap_can_be_set_and_each_side_gets_a_window():
    train, held = numbered([40], min_frames=5, stride=2).split_by_time(0.01, gap=0)
    assert (len(train.clips[0]), len(held.clips[0])) == (31, 9)
    train, held = numbered([40], min_frames=5).split_by_time(0.99, gap=3)
    assert (len(train.clips[0]), len(held.clips[0])) == (5, 32)


def test_clips_too_short_to_split_are_trained_on():
    train, held = numbered([100, 12], min_frames=6, domains=["a", "b"]).split_by_time(0.5)
    assert train.names == ("clip00000[0:47]", "clip00001")
    assert held.names == ("clip00000[53:100]",)
    assert [train.domains[label] for label in train.labels] == ["a", "b"]


def test_what_splitting_by_time_needs_is_said():
    with pytest.raises(ValueError, match=r"1 clip, the longest of 20 frames; each side needs 8 .* 24 in all"):
        numbered([20], min_frames=8).split_by_time(0.5)
    with pytest.raises(ValueError, match="gap is -1"):
        numbered([20]).split_by_time(0.5, gap=-1)
    with pytest.raises(ValueError, match=r"fraction is 1\.5"):
        numbered([20]).split_by_time(1.5)


def test_few_recordings_are_split_by_time_and_many_by_clip():
    train, held = split_clips(numbered([50] * 3, min_frames=4), 0.3)
    assert {clip for clip, _ in frames(train)} == {clip for clip, _ in frames(held)} == {0, 1, 2}
    assert not frames(train) & frames(held)
    train, held = split_clips(numbered([50] * 12, min_frames=4), 0.3)
    assert not {clip for clip, _ in frames(train)} & {clip for clip, _ in frames(held)}
    scenes = split_clips(numbered([50] * 12, min_frames=4), 0.3, group=lambda name: name[:5])
    assert len(scenes[0].clips) == len(scenes[1].clips) == 12


def test_pieces_of_one_recording_stay_on_one_side():
    names = [part_name(f"{index}.mp4", start, start + 5) for index in range(20) for start in (0, 5)]
    train, held = numbered([5] * 40, names=names).split(0.4)
    assert not set(map(recording_name, train.names)) & set(map(recording_name, held.names))


def test_a_split_can_be_split_again():
    _, held = split_clips(numbered([200], min_frames=5), 0.5)
    first, second = split_clips(held, 0.5)
    assert first.names == ("clip00000[102:149]",)
    assert second.names == ("clip00000[154:200]",)
