"""Checkpoints of any pytree, restored bit for bit into an abstract target.

One directory a step, `checkpoints/step_00000120`, written by Orbax under a temporary name and renamed when it
is complete: a directory with a step's name is a whole checkpoint, anything else is ignored. A step that is
saved again has its old directory set aside until the new one is whole. In a bucket, where nothing can be renamed,
Orbax writes under the final name and marks a whole checkpoint by a file in it; a step that is saved again is written
beside the old one. One process writes to a directory at a time (`io.lock`). Saving returns after the last byte is
written, so the arrays may be donated right after it. Typed random keys are stored as the integers under them;
arrays without elements, which Orbax refuses, are left out and made again from the target.
"""

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as orbax

from recycle_jax.io.files import explaining
from recycle_jax.io.lock import require_mine
from recycle_jax.io.paths import as_path, is_remote, make_directory, remove_tree
from recycle_jax.typing import PyTree

STEP_NAME = re.compile(r"step_(\d{8,})(\.replaced)?")
COMMITTED = "commit_success.txt"
"""What Orbax writes last into a checkpoint in a bucket."""


def save(directory: str | os.PathLike[str], step: int, state: PyTree, *, keep: int = 3) -> Path:
    """Writes `state` as the checkpoint of `step` and removes the oldest beyond `keep`.

    Args:
        directory: where the checkpoints of a run lie.
        step: a number that orders them, at least 0; an existing checkpoint of this step is replaced.
        state: pytree of arrays (any dtype, typed keys, sharded or not).
        keep: how many of the newest stay.

    Raises:
        ValueError: a negative step, `keep` below 1, nothing to save.
        OSError: unwritable directory or not enough room, found before a byte is written where possible; the
            earlier checkpoints are kept.
        InUse: another process saves its checkpoints there.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"step is {step}, keep is {keep}; step must be at least 0 and keep at least 1")
    root = _root(directory)
    stored = _stored(state)
    with explaining(root):
        make_directory(root)
        if jax.process_index() == 0:
            require_mine(root)
        _remove_unfinished(root)
        if is_remote(root):
            path = _write_beside(root, step, stored)
        else:
            _require_room(root, _bytes(stored))
            path = _write(root, step, stored)
    _prune(root, keep)
    return path


def restore(directory: str | os.PathLike[str], target: PyTree, *, step: int | None = None) -> tuple[int, PyTree]:
    """Returns `(step, state)` of the newest checkpoint, or of `step`.

    Args:
        directory: where the checkpoints of a run lie.
        target: pytree of the structure, shapes, dtypes and shardings wanted: arrays, which stay unchanged, or
            `jax.ShapeDtypeStruct`s (the first device where they name no sharding). Shardings may differ
            from those at the time of saving.
        step: which checkpoint, None for the newest.

    Raises:
        FileNotFoundError: no such checkpoint, naming those that exist.
        ValueError: the checkpoint does not fit the target, naming each leaf and both shapes.
    """
    root = _root(directory)
    there = _checkpoints(root)
    chosen = max(there, default=None) if step is None else step
    if chosen is None or chosen not in there:
        wanted = "checkpoint" if step is None else f"checkpoint of step {step}"
        raise FileNotFoundError(f"no {wanted} in {root}; steps there: {sorted(there) or 'none'}")
    abstract = _stored(jax.tree.map(_abstract, target))
    _require_fit(there[chosen], abstract)
    return chosen, _filled(orbax.load(there[chosen], abstract), target)


def steps(directory: str | os.PathLike[str]) -> list[int]:
    """Returns the steps of the complete checkpoints, oldest first."""
    return sorted(_checkpoints(_root(directory)))


def latest_step(directory: str | os.PathLike[str]) -> int | None:
    """Returns the step of the newest complete checkpoint, None if there is none."""
    return max(steps(directory), default=None)


def _root(directory: str | os.PathLike[str]) -> Path:
    root = as_path(directory)
    return root if is_remote(root) else root.absolute()


def _path(root: Path, step: int) -> Path:
    return root / f"step_{step:08d}"


def _aside(root: Path, step: int) -> Path:
    return root / f"step_{step:08d}.replaced"


def _checkpoints(root: Path) -> dict[int, Path]:
    """Returns the complete checkpoint of each step; one set aside counts while its successor is not there."""
    named = [(entry, name) for entry in _entries(root) if (name := STEP_NAME.fullmatch(entry.name))]
    # In falling order of names a step's own directory comes after the one set aside, and wins.
    named = sorted((pair for pair in named if _is_whole(pair[0])), key=lambda pair: pair[0].name, reverse=True)
    return {int(name[1]): entry for entry, name in named}


def _entries(root: Path) -> list[Path]:
    return [entry for entry in root.iterdir() if entry.is_dir()] if root.is_dir() else []


def _is_whole(entry: Path) -> bool:
    return not is_remote(entry) or (entry / COMMITTED).exists()


def _write(root: Path, step: int, stored: PyTree) -> Path:
    final, aside = _path(root, step), _aside(root, step)
    if jax.process_index() == 0 and final.exists():
        shutil.rmtree(aside, ignore_errors=True)
        final.rename(aside)
    _wait_for_all(f"checkpoint {step} may be written")
    try:
        orbax.save(final, stored)
    except ValueError as error:
        _remove_unfinished(root)
        # The storage library under Orbax reports a full disk in words only.
        if os.strerror(errno.ENOSPC) in str(error):
            raise OSError(errno.ENOSPC, str(error)) from error
        raise
    if jax.process_index() == 0:
        shutil.rmtree(aside, ignore_errors=True)
    return final


def _write_beside(root: Path, step: int, stored: PyTree) -> Path:
    """In a bucket: writes under whichever of a step's two names is free, then removes the other."""
    names = (_path(root, step), _aside(root, step))
    old = _checkpoints(root).get(step)
    # Every host must see the old checkpoint before the first one removes it.
    _wait_for_all(f"checkpoint {step} may be written")
    final = names[1] if old == names[0] else names[0]
    if jax.process_index() == 0:
        remove_tree(final, missing_ok=True)
    _wait_for_all(f"checkpoint {step} has a free name")
    orbax.save(final, stored)
    if jax.process_index() == 0 and old is not None:
        _remove(old)
    return final


def _wait_for_all(what: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def _stored(state: PyTree) -> PyTree:
    stored = jax.tree.map(_storable, state)
    if not jax.tree.leaves(stored):
        raise ValueError("the state holds no array with elements; there is nothing to save or restore")
    return stored


def _storable(leaf: Any) -> Any:
    if _size(leaf) == 0:
        return None
    return np.asarray(leaf) if isinstance(leaf, np.generic) else leaf


def _filled(loaded: PyTree, target: PyTree) -> PyTree:
    # Leaves come back in the target's order; the empty ones, which were not stored, are made here.
    leaves = iter(jax.tree.leaves(loaded))
    return jax.tree.map(lambda leaf: _empty(leaf) if _size(leaf) == 0 else next(leaves), target)


def _empty(leaf: Any) -> Any:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0, impl=leaf.dtype._impl.name), leaf.shape)
    return np.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, np.ndarray) else jnp.zeros(leaf.shape, leaf.dtype)


def _size(leaf: Any) -> int:
    return int(np.prod(np.shape(leaf), dtype=np.int64))


def _abstract(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return leaf
    # Without a sharding Orbax would ask for the devices that the checkpoint was saved on.
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _bytes(stored: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(stored) if hasattr(leaf, "nbytes"))


def _require_room(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if needed > free:
        raise OSError(
            f"a checkpoint of {needed / 2**20:.1f} MiB does not fit in {root}: {free / 2**20:.1f} MiB are "
            f"free; free some space or choose another directory (earlier checkpoints are kept)"
        )


def _require_fit(path: Path, abstract: PyTree) -> None:
    there, wanted = _described(orbax.metadata(path).metadata), _described(abstract)
    wrong = [
        f"{'.'.join(name)}: {there.get(name, 'absent')} saved, {wanted.get(name, 'absent')} wanted"
        for name in sorted(there.keys() | wanted.keys())
        if there.get(name) != wanted.get(name)
    ]
    if wrong:
        more = f"\n  and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise ValueError(
            f"{path} was saved from another model or bank:\n  " + "\n  ".join(wrong[:8]) + more + "\n"
            "use the configuration it was saved with, or start in another directory"
        )


def _described(tree: PyTree) -> dict[tuple[str, ...], str]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {tuple(_key_name(key) for key in path): _shape_name(leaf) for path, leaf in leaves}


def _key_name(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _shape_name(leaf: Any) -> str:
    if not hasattr(leaf, "shape"):
        return type(leaf).__name__
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _remove_unfinished(root: Path) -> None:
    if jax.process_index() == 0:
        for entry in _entries(root):
            unfinished = ".orbax-checkpoint-tmp" in entry.name or not _is_whole(entry)
            if entry.name.startswith("step_") and unfinished:
                remove_tree(entry, missing_ok=True)


def _prune(root: Path, keep: int) -> None:
    if jax.process_index() == 0:
        for step in steps(root)[:-keep]:
            _remove(_checkpoints(root)[step])


def _remove(checkpoint: Path) -> None:
    """Takes a checkpoint's name or mark away first, so that one half removed is not taken for a whole one."""
    if is_remote(checkpoint):
        (checkpoint / COMMITTED).unlink()
        remove_tree(checkpoint, missing_ok=True)
    else:
        remove_tree(checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.orbax-checkpoint-tmp-removed")))
