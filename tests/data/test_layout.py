"""Arrays in other layouts and ranges are refused with what to do, or said."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.data.arrays import from_arrays


def test_channels_first_is_recognised():
    for clip in (np.zeros((5, 3, 16, 24), np.uint8), np.zeros((5, 3, 16, 24)), np.zeros((5, 1, 16, 24), np.uint8)):
        with pytest.raises(ValueError, match=r"channels first.*transpose\(0, 2, 3, 1\)"):
            from_arrays([clip])


@pytest.mark.parametrize("shape", [(5, 16, 24, 3), (5, 8, 8, 16), (5, 1, 64, 16), (5, 3, 3, 1), (5, 4, 64, 64)])
def test_other_layouts_are_taken_as_they_are(shape):
    assert from_arrays([np.zeros(shape)]).shape == shape[1:]


def test_one_clip_instead_of_a_list():
    with pytest.raises(ValueError, match="pass a list of clips"):
        from_arrays(np.zeros((5, 16, 16, 3), np.uint8))


def test_floats_of_any_width_become_float32():
    values = [np.zeros((3, 4, 4, 1), np.float16), np.asarray(jnp.full((3, 4, 4, 1), 0.25, jnp.bfloat16))]
    source = from_arrays([*values, np.zeros((3, 4, 4, 1), np.float64)])
    assert {clip.dtype for clip in source.clips} == {np.dtype(np.float32)}
    assert source.clips[1].max() == 0.25


def test_mapped_files_are_not_copied(tmp_path):
    stored = np.memmap(tmp_path / "clips", np.uint8, "w+", shape=(5, 4, 4, 3))
    assert np.shares_memory(from_arrays([stored]).clips[0], stored)


def test_a_unit_range_is_said():
    unit = np.random.default_rng(0).random((5, 8, 8, 3))
    with pytest.warns(UserWarning, match=r"all values are in \[0, 1\].*pass 2 \* clip - 1"):
        from_arrays([unit, np.ones_like(unit)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_arrays([unit, -unit])
        from_arrays([np.zeros((5, 8, 8, 3))])


def test_a_byte_range_of_floats_is_refused_with_the_factor():
    with pytest.raises(ValueError, match=r"for 0\.\.255, pass clip / 127\.5 - 1"):
        from_arrays([np.full((3, 4, 4, 3), 200.0)])
    with pytest.raises(ValueError, match="rescale them"):
        from_arrays([np.full((3, 4, 4, 3), -7.0)])


def test_a_fourth_channel_of_bytes_is_said():
    with pytest.warns(UserWarning, match=r"4 channels.*clip\[\.\.\., :3\]"):
        from_arrays([np.zeros((5, 8, 8, 4), np.uint8)])
