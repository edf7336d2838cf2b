"""At which temperature a flow should roll out: cool where what comes next follows from what was, else as trained.

A draw is worth its jitter only where the future is open. With f_0(c) the chunk that a flow samples from its context
at temperature 0, x the real one and c_last the context's newest frame,

    unexplained = mean ||x - f_0(c)||^2 / mean ||x - c_last||^2                                     (1)

over real clips: the share of what changes that the flow's best guess misses. Measured after teacher forcing: .06 to .15
in simulated worlds whose next frame follows from the context, 1.6 to 2.4 in video of a robot's arm, which a small
network foretells worse than a still picture does. So none of the temperature below one half, and all of it above: in
simulated worlds rollouts last longer at 0 than at .5 (`docs/lab_notes`, "When recycling begins").
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, mean_square, said_deterministic, split_clip
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.rng import row_keys
from recycle_jax.sharding import fetch, make_mesh, split_over_devices
from recycle_jax.typing import Params, PRNGKey, Rows, Scalar


def unexplained_variance(flow: RectifiedFlow, params: Params, batch: Batch) -> Scalar:
    """Equation (1) over a batch of real clips; more than 1 for a flow that knows less than a still picture.

    Raises:
        ValueError: if clips are shorter than a context and a chunk.
    """
    missed, changed = (rows.mean() for rows in _missed_and_changed(flow, params, batch))
    return missed / jnp.maximum(changed, jnp.finfo(changed.dtype).tiny)


def _missed_and_changed(flow: RectifiedFlow, params: Params, batch: Batch) -> tuple[Rows, Rows]:
    """Numerator and denominator of equation (1), row by row."""
    context, chunk = split_clip(batch.clip, flow.context_frames, flow.chunk_frames)
    cold = dataclasses.replace(flow, temperature=0.0)
    keys = jax.random.split(jax.random.key(0), len(context))  # drawn from, and multiplied by 0
    guess = cold.step(params, cold.begin(params, context, batch.condition), keys, batch.condition)[1]
    return mean_square(chunk - guess), mean_square(chunk - context[:, -1:])


def choose_temperature(
    flow: RectifiedFlow,
    params: Params,
    batch: Batch,
    *,
    temperature: float = 0.0,
    below: float = 0.5,
    mesh: Mesh | None = None,
) -> RectifiedFlow:
    """The flow at `temperature` where less than the share `below` of what changes is unexplained, else as it is.

    Reads a number from the device: call it between phases, not inside a compiled program.

    Args:
        flow: who is to roll out.
        params: its parameters after teacher forcing.
        batch: real clips, of a context and a chunk at least.
        temperature: the lower one.
        below: see (1).
        mesh: where to decide, None for all devices.
    """
    each = split_over_devices(
        lambda params, batch, key, first: _missed_and_changed(flow, params, batch),
        make_mesh() if mesh is None else mesh,
    )
    missed, changed = (float(rows.mean()) for rows in fetch(each(params, batch, jax.random.key(0))))
    if missed >= below * max(changed, float(np.finfo(np.float32).tiny)):
        return flow
    return dataclasses.replace(flow, temperature=temperature)


def is_deterministic(
    generator: Generator, params: Params | None = None, batch: Batch | None = None, mesh: Mesh | None = None
) -> bool:
    """Whether what the generator makes follows from the history alone, by its `is_deterministic`.

    One that does not say is asked for a chunk twice, with different keys, and is deterministic where both are the same
    to the bit. Without parameters and clips to ask with it is taken to draw.

    Args:
        generator: of any kind.
        params: its parameters.
        batch: real clips, of a context at least.
        mesh: where to ask, None for all devices.
    """
    said = said_deterministic(generator)
    if said is not None or params is None or batch is None:
        return bool(said)

    def same(params: Params, batch: Batch, key: PRNGKey, first: Array) -> Array:
        context = batch.clip[:, : generator.context_frames]

        def chunk(stream: int) -> Array:
            keys = row_keys(jax.random.fold_in(key, stream), context.shape[0], first)
            return generator.step(params, generator.begin(params, context, batch.condition), keys, batch.condition)[1]

        return jnp.all(chunk(0) == chunk(1), axis=(1, 2, 3, 4))

    asked = split_over_devices(same, make_mesh() if mesh is None else mesh)
    return bool(np.all(fetch(asked(params, batch, jax.random.key(0)))))
