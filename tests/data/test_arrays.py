"""Sources of clips in memory: which windows are drawn, and what is refused."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.data.arrays import from_arrays, to_signed
from recycle_jax.data.base import ClipSource


def numbered(lengths, **settings):
    """Clips whose frames say which clip and which frame they are."""
    clips = [np.zeros((length, 2, 3, 3), np.uint8) for length in lengths]
    for index, clip in enumerate(clips):
        clip[..., 0], clip[..., 1] = index, np.arange(len(clip))[:, None, None]
    return from_arrays(clips, **settings)


def read_back(batch):
    """Returns (clip, frames) of each row of a batch of numbered clips."""
    codes = np.rint((np.asarray(batch.clip) + 1) * 127.5).astype(int)[:, :, 0, 0]
    return [(int(row[0, 0]), row[:, 1].tolist()) for row in codes]


def test_is_a_clip_source_of_float_frames():
    source = numbered([9, 12], domains=["b", "a"])
    batch = source.batch(0, 4, 5)
    assert isinstance(source, ClipSource)
    assert (source.shape, source.domains, source.deterministic) == ((2, 3, 3), ("a", "b"), False)
    assert batch.clip.shape == (4, 5, 2, 3, 3)
    assert str(batch.clip.dtype) == "float32"
    assert str(batch.domain.dtype) == "int32"
    assert [source.domains[label] for label in batch.domain] == ["ba"[clip] for clip, _ in read_back(batch)]


def test_a_row_depends_on_seed_step_and_row_only():
    source = numbered([40, 60], seed=3)
    many, few = source.batch(7, 8, 4), source.batch(7, 3, 4)
    np.testing.assert_array_equal(many.clip[:3], few.clip, err_msg="rows depend on how many are read")
    np.testing.assert_array_equal(source.batch(7, 3, 4, first=5).clip, many.clip[5:], err_msg="a part is another")
    assert read_back(source.batch(8, 8, 4)) != read_back(many)
    assert read_back(dataclasses.replace(source, seed=4).batch(7, 8, 4)) != read_back(many)


def test_every_window_is_equally_likely():
    source = numbered([5, 3, 9], stride=2)
    assert source.windows(3) == 1 + 0 + 5
    drawn = read_back(source.batch(0, 1200, 3))
    windows, counts = np.unique([(clip, frames[0]) for clip, frames in drawn], axis=0, return_counts=True)
    assert windows.tolist() == [[0, 0], [2, 0], [2, 1], [2, 2], [2, 3], [2, 4]]
    assert np.abs(counts - 200).max() < 60, "four standard deviations and a half of a fair draw"
    assert all(np.diff(frames).tolist() == [2, 2] for _, frames in drawn)


def test_windows_are_addressed_in_order():
    source = numbered([5, 3, 9], stride=2)
    frames, label = source.window(1, 3)
    assert read_back(dataclasses.replace(source.batch(0, 1, 3), clip=jnp.asarray(frames)[None])) == [(2, [0, 2, 4])]
    assert label == 0
    with pytest.raises(ValueError, match="window 6 asked for; there are 6"):
        source.window(6, 3)


def test_bytes_map_onto_the_whole_range():
    ends = to_signed(np.array([0, 255], np.uint8))
    assert ends.tolist() == [-1.0, 1.0]
    assert ends.dtype == np.float32


def test_split_keeps_groups_together_and_does_not_move_when_clips_are_added():
    names = [f"scene{index // 2}_camera{index % 2}" for index in range(80)]
    source = numbered([4] * 80, names=names)
    train, held = source.split(0.25, group=lambda name: name.split("_")[0])
    assert sorted(train.names + held.names) == sorted(names)
    assert not {name.split("_")[0] for name in train.names} & {name.split("_")[0] for name in held.names}
    assert 4 <= len(held.names) <= 36
    fewer = numbered([4] * 60, names=names[:60]).split(0.25, group=lambda name: name.split("_")[0])[1]
    assert set(fewer.names) == set(held.names) & set(names[:60])


def test_split_gives_each_side_a_clip():
    train, held = numbered([4, 4]).split(0.01)
    assert (len(train.clips), len(held.clips)) == (1, 1)
    with pytest.raises(
        ValueError, match="1 clip of 4 frames form 1 group; splitting by clip needs at least 2: split by time"
    ):
        numbered([4]).split(0.5)
    with pytest.raises(ValueError, match=r"fraction is 1\.0"):
        numbered([4, 4]).split(1.0)


def test_short_clips_are_named_and_counted():
    with pytest.warns(UserWarning, match=r"1 of 2 clips are shorter than 6 frames .*: clip00000"):
        source = numbered([5, 9], min_frames=6)
    assert source.too_short(6) == ("clip00000",)
    message = (
        r"6 frames at stride 2 spans 11 frames; there are 2 clips with 14 frames in all, the longest has 9 "
        r"\(clip00001\)\. Ask for at most 5 frames \(context_frames \+ chunk_frames"
    )
    with pytest.raises(ValueError, match=message):
        numbered([5, 9], min_frames=6, stride=2)
    with pytest.raises(ValueError, match="no clip is long enough"):
        source.batch(0, 1, 10)


@pytest.mark.parametrize("value", [1.5, -1.01, np.nan, np.inf])
def test_values_out_of_range_name_clip_and_frame(value):
    good, bad = np.zeros((4, 2, 2, 1)), np.zeros((4, 2, 2, 1))
    bad[2, 1, 1] = value
    with pytest.raises(ValueError, match=r"clip arm, frame 2 \(1 of 4 frames\).*\[-1, 1\] and not NaN"):
        from_arrays([good, bad], names=["leg", "arm"])


@pytest.mark.parametrize(
    ("clips", "settings", "message"),
    [
        ([], {}, "at least one clip"),
        ([np.zeros((4, 2, 2, 3), np.int64)], {}, "clip00000 is int64"),
        ([np.zeros((4, 2, 2), np.uint8)], {}, r"shape \(4, 2, 2\)"),
        ([np.zeros((4, 2, 2, 3), np.uint8), np.zeros((4, 3, 2, 3), np.uint8)], {}, "clip00001 has shape"),
        ([np.zeros((4, 2, 2, 3), np.uint8)] * 2, {"names": ["a", "a"]}, "names used twice: a"),
        ([np.zeros((4, 2, 2, 3), np.uint8)], {"seed": -1}, "seed is -1"),
        ([np.zeros((4, 2, 2, 3), np.uint8)], {"stride": 0}, "stride is 0"),
    ],
)
def test_bad_input_is_refused_at_construction(clips, settings, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(clips, **settings)
