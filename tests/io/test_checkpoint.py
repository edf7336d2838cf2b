"""Checkpoints: bit-exact, whole or absent, and refused where they do not fit."""

import os
import re
import shutil
from collections import namedtuple
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct
from orbax.checkpoint import v1 as orbax

from recycle_jax.io.checkpoint import latest_step, restore, save, steps


@struct.dataclass
class State:
    """A state with everything a run may hold."""

    params: Any
    optimiser: Any
    bank: Any
    key: Any
    rows: Any
    step: Any
    name: str = struct.field(pytree_node=False, default="arm")


def state(seed=0, width=4, capacity=5):
    generator = np.random.default_rng(seed)
    params = {
        "layers": {
            0: jnp.asarray(generator.normal(size=(3, width)), jnp.float32),
            10: jnp.full((2,), np.nan),
        },
        "scales": [jnp.asarray(generator.normal(size=7), jnp.bfloat16), jnp.float32(-0.0)],
    }
    with jax.numpy_dtype_promotion("standard"):
        optimiser = optax.adamw(1e-3).init(params)
    bank = {"frames": jnp.asarray(generator.integers(0, 256, (capacity, 3)), jnp.uint8), "none": None}
    bank |= {"empty": jnp.zeros((0, 3), jnp.int32), "full": jnp.asarray([True, False])}
    keys = jax.random.split(jax.random.key(seed, impl="rbg"), 4)
    return State(
        params=params,
        optimiser=optimiser,
        bank=bank,
        key=jax.random.key(seed),
        rows=keys,
        step=jnp.int32(seed),
    )


def bits(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(leaf.dtype), bits(jax.random.key_data(leaf))
    return str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for (path, one), two in zip(jax.tree_util.tree_leaves_with_path(left), jax.tree.leaves(right), strict=True):
        assert bits(one) == bits(two), jax.tree_util.keystr(path)


def listed(directory):
    """Names in a directory, without those that hold the lock."""
    return sorted(name for name in os.listdir(directory) if not name.startswith("."))


def small(value):
    return {"w": jnp.full((2,), value, jnp.float32)}


def test_a_whole_state_comes_back_bit_for_bit(tmp_path):
    saved = state(3)
    path = save(tmp_path, 3, saved)
    assert path.name == "step_00000003"
    step, loaded = restore(tmp_path, state(0))
    assert step == 3
    assert_same(loaded, saved)
    step, loaded = restore(tmp_path, jax.eval_shape(lambda: saved))
    assert_same(loaded, saved)


def test_keys_go_on_as_if_never_stopped(tmp_path):
    saved = state(3)
    save(tmp_path, 0, saved)
    _, loaded = restore(tmp_path, state(0))
    for one, two in ((saved.key, loaded.key), (saved.rows[2], loaded.rows[2])):
        np.testing.assert_array_equal(jax.random.normal(one, (5,)), jax.random.normal(two, (5,)))


def test_a_saved_state_may_be_donated_at_once(tmp_path):
    live = small(1.0)
    save(tmp_path, 0, live)
    jax.block_until_ready(jax.jit(lambda tree: jax.tree.map(lambda x: x * 0, tree), donate_argnums=0)(live))
    np.testing.assert_array_equal(restore(tmp_path, small(0.0))[1]["w"], [1.0, 1.0])


def test_numpy_leaves_and_named_tuples(tmp_path):
    pair = namedtuple("pair", ["left", "right"])(np.arange(3), (np.float32(2.5), 7, 0.1, jnp.zeros((2,))))
    save(tmp_path, 0, pair)
    _, loaded = restore(tmp_path, pair)
    assert type(loaded) is type(pair)
    assert isinstance(loaded.left, np.ndarray)
    assert loaded.right[1:3] == (7, 0.1)
    np.testing.assert_array_equal(loaded.left, pair.left)
    assert loaded.right[0] == np.float32(2.5)


def test_the_newest_stay(tmp_path):
    assert (latest_step(tmp_path), steps(tmp_path / "absent")) == (None, [])
    for step in (10, 20, 30, 40):
        save(tmp_path, step, small(step), keep=2)
    assert (steps(tmp_path), latest_step(tmp_path)) == ([30, 40], 40)
    np.testing.assert_array_equal(restore(tmp_path, small(0), step=30)[1]["w"], [30, 30])


def test_interrupted_saves_are_ignored_and_cleared(tmp_path):
    save(tmp_path, 1, small(1))
    stray = tmp_path / "step_00000002.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "step_00000001", stray)
    (tmp_path / "notes").mkdir()
    assert steps(tmp_path) == [1]
    assert restore(tmp_path, small(0))[0] == 1
    save(tmp_path, 2, small(2))
    assert not stray.exists()
    assert listed(tmp_path) == ["notes", "step_00000001", "step_00000002"]


def test_saving_a_step_again_never_leaves_none(tmp_path, monkeypatch):
    save(tmp_path, 1, small(1))
    save(tmp_path, 1, small(2))
    np.testing.assert_array_equal(restore(tmp_path, small(0))[1]["w"], [2, 2])

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(orbax, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 1, small(3))
    assert steps(tmp_path) == [1]
    np.testing.assert_array_equal(restore(tmp_path, small(0))[1]["w"], [2, 2])
    monkeypatch.undo()
    save(tmp_path, 1, small(4))
    np.testing.assert_array_equal(restore(tmp_path, small(0))[1]["w"], [4, 4])
    assert listed(tmp_path) == ["step_00000001"]


def test_another_shape_names_the_leaf_and_both_shapes(tmp_path):
    save(tmp_path, 0, state(0))
    with pytest.raises(ValueError, match="saved from another model") as caught:
        restore(tmp_path, state(0, width=6, capacity=8))
    text = str(caught.value)
    assert "params.layers.0: float32[3, 4] saved, float32[3, 6] wanted" in text
    assert "bank.frames: uint8[5, 3] saved, uint8[8, 3] wanted" in text
    assert "use the configuration it was saved with" in text
    assert "layers.10" not in text


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"w": jnp.zeros((2,), jnp.bfloat16)}, "w: float32[2] saved, bfloat16[2] wanted"),
        ({"w": jnp.zeros((2,)), "b": jnp.zeros(3)}, "b: absent saved, float32[3] wanted"),
        ({"v": jnp.zeros((2,))}, "w: float32[2] saved, absent wanted"),
        ({"w": jax.random.key(0)}, "w: float32[2] saved, uint32[2] wanted"),
    ],
)
def test_other_dtypes_and_leaves_are_named(tmp_path, wanted, message):
    save(tmp_path, 0, small(1))
    with pytest.raises(ValueError, match=re.escape(message)):
        restore(tmp_path, wanted)


def test_missing_checkpoints_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint in .*; steps there: none"):
        restore(tmp_path, small(0))
    save(tmp_path, 4, small(4))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of step 3 .*steps there: \[4\]"):
        restore(tmp_path, small(0), step=3)


def test_a_full_disk_is_found_before_writing(tmp_path, monkeypatch):
    save(tmp_path, 1, small(1))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(OSError, match="does not fit in .*free some space"):
        save(tmp_path, 2, small(2))
    assert steps(tmp_path) == [1]


def test_a_disk_that_fills_up_while_writing_keeps_what_there_is(tmp_path, monkeypatch):
    save(tmp_path, 1, small(1))

    def fills_up(path, _):
        path.with_name(f"{path.name}.orbax-checkpoint-tmp").mkdir()
        raise ValueError("RESOURCE_EXHAUSTED: Failed to write 9 bytes: No space left on device [os_error_code='28']")

    monkeypatch.setattr(orbax, "save", fills_up)
    with pytest.raises(OSError, match="cannot write .*: No space left on device; free some space"):
        save(tmp_path, 1, small(2))
    assert listed(tmp_path) == ["step_00000001.replaced"]
    np.testing.assert_array_equal(restore(tmp_path, small(0))[1]["w"], [1, 1])


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="step is -1"):
        save(tmp_path, -1, small(0))
    with pytest.raises(ValueError, match="keep is 0"):
        save(tmp_path, 0, small(0), keep=0)
    with pytest.raises(ValueError, match="nothing to save"):
        save(tmp_path, 0, {"a": None})
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write .*choose another directory"):
        save(tmp_path / "file", 0, small(0))
