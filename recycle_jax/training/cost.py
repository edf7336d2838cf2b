"""What a run costs, in FLOPs that are counted once and multiplied in Python.

XLA counts the body of a scan once, whatever its trip count; so one un-scanned forward call of one row, `F`, is
lowered and counted, and everything else follows from how often it is made:

    update       rows ((n + 3 g) F + (n + g) H)   n calls without gradient and g with one, `histories.base.Calls`  (1)
    harvest      chains steps (c F + H + R)       c calls for a chunk, R for the reference's own network          (2)

`H` is what a history costs before the network sees it, `history_flops`: look-ups in a codebook, which no gradient
passes. Optimiser, bank and simulator are not counted.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.comparison.baselines.codebook import quantise
from experiments.comparison.baselines.discretised import Discretised
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.typing import Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """A run's bill; bills add up.

    Attributes:
        train_flops: updates, those of a learned reference included.
        harvest_flops: rollouts and references of the harvest.
        eval_flops_used_for_choices: evaluations that chose or stopped something.
        updates: optimiser steps of the generator.
        seconds: wall time.
    """

    train_flops: float = 0.0
    harvest_flops: float = 0.0
    eval_flops_used_for_choices: float = 0.0
    updates: int = 0
    seconds: float = 0.0

    @property
    def flops(self) -> float:
        """Everything that counts."""
        return self.train_flops + self.harvest_flops + self.eval_flops_used_for_choices

    def __add__(self, other: "Cost") -> "Cost":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Cost(**dict(zip((f.name for f in dataclasses.fields(self)), (a + b for a, b in pairs), strict=True)))


def flops_of(f: Callable[..., Any], *args: Any) -> float:
    """FLOPs of one call of `f`, as XLA counts them before optimisation; scans inside count one trip."""
    analysis = jax.jit(f).lower(*args).cost_analysis()
    if analysis is None:
        raise RuntimeError("this backend counts no FLOPs: measure the cost on the CPU backend")
    return float(analysis["flops"])


def forward_flops(generator: Generator, params: Params, shape: tuple[int, int, int]) -> float:
    """`F`: one forward call of one row, its loss included; of a discretised generator the inner one's, without `H`."""
    if isinstance(generator, Discretised):
        generator = generator.inner
    frames = generator.context_frames + generator.chunk_frames
    batch = Batch(clip=jnp.zeros((1, frames, *shape)), domain=jnp.zeros(1, jnp.int32))
    example = clean_example(generator, batch, jax.random.split(jax.random.key(0), 1))
    return flops_of(lambda p, e: generator.fit(p, e).loss, params, example)


def history_flops(generator: Generator, shape: tuple[int, int, int]) -> float:
    """`H`: what one row's context costs before the network sees it, 0 for most generators."""
    if not isinstance(generator, Discretised):
        return 0.0
    context = jnp.zeros((1, generator.context_frames, *shape))
    return flops_of(functools.partial(quantise, generator.codebook), context)


def update_flops(generator: Generator, policy: HistoryPolicy, forward: float, rows: int, history: float = 0.0) -> float:
    """Equation (1); `history` is `H`."""
    calls = policy.calls(generator)
    return rows * (forward * calls.forwards + history * (calls.forward + calls.backward))


def harvest_flops(
    generator: Generator, forward: float, reference: float, chains: int, steps: int, history: float = 0.0
) -> float:
    """Equation (2); `reference` is what one row costs the reference, 0 where it has no network."""
    return chains * steps * (generator.calls_per_step * forward + history + reference)
