"""A generator on disk: a folder that another script opens without anything of this one.

    parameters.safetensors   the parameters, one array a leaf, named by its path
    generator.json           what the generator is made of (`api.describe`), versions, and whatever was noted beside it

The folder is written under another name and then renamed, so that a generator there is a whole one.
"""

import json
import os
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from safetensors import safe_open
from safetensors.flax import save_file

from recycle_jax.api.describe import describe, rebuild
from recycle_jax.generators.base import Generator
from recycle_jax.io.files import explaining
from recycle_jax.sharding import fetch, is_first_host
from recycle_jax.typing import Params

PARAMETERS, DESCRIPTION, FORMAT = "parameters.safetensors", "generator.json", 1
PACKAGES = ("recycle_jax", "jax", "flax")


def save(
    generator: Generator | None,
    params: Params,
    folder: str | os.PathLike[str],
    *,
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Saves a generator and its parameters in a folder, in place of what was saved there before.

    Of several hosts all call it and the first one writes.

    Args:
        generator: what `load` is to make again; None saves the parameters alone.
        params: a pytree of arrays.
        folder: made if it is missing.
        notes: JSON values to keep beside it, such as the licence of the data.

    Returns:
        The folder.

    Raises:
        ValueError: if a part of the generator has no import path, before anything is written; if the folder holds
            something else.
        OSError: unwritable or full disk, with the remedy.
    """
    target = Path(folder).expanduser().absolute()
    record = {
        "format": FORMAT,
        "generator": None if generator is None else describe(generator),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "notes": dict(notes or {}),
    }
    text = json.dumps(record, indent=1, allow_nan=False)
    arrays = {name: jnp.asarray(fetch(leaf)) for name, leaf in named_leaves(params).items()}
    if not is_first_host():
        return target
    _require_own(target)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with explaining(target):
        fresh.mkdir(parents=True)
        try:
            save_file(arrays, fresh / PARAMETERS)
            (fresh / DESCRIPTION).write_text(text)
            _replace(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target


def load(folder: str | os.PathLike[str], generator: Generator | None = None) -> tuple[Generator, Params]:
    """The generator and parameters that `save` wrote.

    Args:
        folder: of `save`.
        generator: in place of the saved description, where that cannot be imported here.

    Raises:
        FileNotFoundError: if the folder holds no saved generator.
        ImportError: if a part of the generator cannot be imported here, with its import path.
        ValueError: if the parameters are not those of the generator.
    """
    source = Path(folder).expanduser()
    if not (source / DESCRIPTION).exists():
        raise FileNotFoundError(f"{source} holds no {DESCRIPTION}: give the folder that rj.save returned")
    record = json.loads((source / DESCRIPTION).read_text())
    if record["format"] > FORMAT:
        raise ValueError(f"{source} is of format {record['format']}, this version reads {FORMAT}: update recycle_jax")
    if generator is None:
        if record["generator"] is None:
            raise ValueError(f"{source} holds parameters alone: pass the generator too, load(folder, generator)")
        generator = rebuild(record["generator"])
    with safe_open(source / PARAMETERS, framework="flax") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    return generator, _filled(generator, arrays, source)


def named_leaves(params: Params) -> dict[str, Any]:
    """Path -> leaf, such as `blocks.0.conv.kernel`."""
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in _leaves(params)}


def _leaves(params: Params) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(params)[0]


def _filled(generator: Generator, arrays: Mapping[str, jax.Array], source: Path) -> Params:
    wanted = jax.eval_shape(generator.init, jax.random.key(0))
    names = named_leaves(wanted)
    wrong = sorted(names.keys() ^ arrays.keys())
    wrong += sorted(n for n in names.keys() & arrays.keys() if names[n].shape != arrays[n].shape)
    if wrong:
        raise ValueError(
            f"{source} holds other parameters than this generator has ({', '.join(wrong[:3])}): build the generator "
            "as it was when it was saved"
        )
    return jax.tree.unflatten(jax.tree.structure(wanted), [arrays[name] for name in names])


def _require_own(target: Path) -> None:
    if target.exists() and any(target.iterdir()) and not (target / DESCRIPTION).exists():
        raise ValueError(f"{target} holds other files and no saved generator: choose a new or empty folder")


def _replace(fresh: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)
