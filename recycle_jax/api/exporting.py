"""`export`: one step of a generator as a file that JAX runs without this library.

The file holds the program in StableHLO (`jax.export`), for the number of rows and the frame size of the start that is
given. The parameters stay outside, in the file that `save` writes. To run it:

    step = jax.export.deserialize(bytearray(open("step.jax", "rb").read())).call
    params = safetensors.flax.load_file("my_generator/parameters.safetensors")
    frames, context = step(params, context, condition, seed)        # seed: int32 [], another one for every step

`frames` is the chunk `[b, chunk, h, w, c]`; `context` is the carry of the rollout, the start's newest `context_frames`
frames at first; `condition` is None for a generator that takes none.
"""

import os
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
from jax import Array

from recycle_jax.api.saving import named_leaves
from recycle_jax.extras import require
from recycle_jax.generators.base import Generator
from recycle_jax.io.files import write_bytes
from recycle_jax.rollout.blocks import checked_start
from recycle_jax.rollout.scan import rollout_keys
from recycle_jax.typing import Frames, Params, PyTree

PLATFORMS = ("cpu", "cuda", "tpu")


def export(
    generator: Generator,
    params: Params,
    start: Any,
    to: str | os.PathLike[str],
    *,
    condition: PyTree = None,
    platforms: tuple[str, ...] = PLATFORMS,
) -> Path:
    """Writes one step of a rollout, `(params, carry, condition, seed) -> (frames, carry)`.

    Args:
        generator: who generates.
        params: its parameters; only their shapes matter.
        start: `[b, t, h, w, c]` as in `rollout`; only its shape and dtype matter.
        to: the file.
        condition: per-row pytree for the network, or None; only shapes matter.
        platforms: on which the file is to run.

    Returns:
        The path of the file.

    Raises:
        ImportError: without the extra `export`, with the command that installs it.
        ValueError: if the start cannot be one of this generator's, or the carry holds arrays that cannot be exported.
        OSError: unwritable or full disk, with the remedy.
    """
    require("flatbuffers", extra="export")  # jax.export writes with it
    context = checked_start(generator, start)
    carry = jax.eval_shape(generator.begin, params, context, condition)
    structure = jax.tree.structure(params)

    def step(named: dict[str, Array], carry: PyTree, condition: PyTree, seed: Array) -> tuple[Frames, PyTree]:
        params = jax.tree.unflatten(structure, [named[name] for name in names])
        keys = rollout_keys(jax.random.key(seed), jnp.int32(0), context.shape[0])
        carry, frames = generator.step(params, carry, keys, condition)
        return frames, carry

    names = list(named_leaves(params))
    seed = jax.ShapeDtypeStruct((), jnp.int32)
    shapes = jax.eval_shape(lambda *given: given, named_leaves(params), carry, condition)
    exported = jax.export.export(jax.jit(step), platforms=platforms)(*shapes, seed)
    return write_bytes(Path(to).absolute(), bytes(exported.serialize()))
