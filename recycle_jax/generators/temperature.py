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

from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, split_clip
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.generators.wrapper import Wrapper
from recycle_jax.typing import Params, Scalar


def unexplained_variance(flow: RectifiedFlow, params: Params, batch: Batch) -> Scalar:
    """Equation (1) over a batch of real clips; more than 1 for a flow that knows less than a still picture.

    Raises:
        ValueError: if clips are shorter than a context and a chunk.
    """
    context, chunk = split_clip(batch.clip, flow.context_frames, flow.chunk_frames)
    cold = dataclasses.replace(flow, temperature=0.0)
    keys = jax.random.split(jax.random.key(0), len(context))  # drawn from, and multiplied by 0
    guess = cold.step(params, cold.begin(params, context, batch.condition), keys, batch.condition)[1]
    missed, changed = (jnp.mean(jnp.square(chunk - other)) for other in (guess, context[:, -1:]))
    return missed / jnp.maximum(changed, jnp.finfo(changed.dtype).tiny)


def choose_temperature(
    flow: RectifiedFlow, params: Params, batch: Batch, *, temperature: float = 0.0, below: float = 0.5
) -> RectifiedFlow:
    """The flow at `temperature` where less than the share `below` of what changes is unexplained, else as it is.

    Reads a number from the device: call it between phases, not inside a compiled program.

    Args:
        flow: who is to roll out.
        params: its parameters after teacher forcing.
        batch: real clips, of a context and a chunk at least.
        temperature: the lower one.
        below: see (1).
    """
    if float(jax.jit(unexplained_variance, static_argnums=0)(flow, params, batch)) >= below:
        return flow
    return dataclasses.replace(flow, temperature=temperature)


def is_deterministic(generator: Generator) -> bool:
    """Whether what it makes follows from the history alone: a `Predictor`, or anything with a `temperature` of 0.

    Wrappers are looked through, noise that they add to the history with them; a generator of another kind that does not
    say its temperature is taken to draw.
    """
    while isinstance(generator, Wrapper):
        generator = generator.inner
    return isinstance(generator, Predictor) or getattr(generator, "temperature", 1.0) == 0.0
