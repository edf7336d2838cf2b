"""What a run costs, in FLOPs that are counted once and multiplied in Python.

XLA counts the body of a scan once, whatever its trip count; so one un-scanned forward call of one row, `F`, is
lowered and counted, and everything else follows from how often it is made:

    update       rows ((n + 3 g) F + (n + g) H)   n calls without gradient and g with one, `histories.base.Calls`  (1)
    harvest      chains steps (c F + H + R)       c calls for a chunk, R for the reference's own network          (2)

`H` is what a history costs before the network sees it, such as look-ups in a codebook, which no gradient passes: most
generators pay nothing, others say what (`HistoryCost`). Optimiser, bank and simulator are not counted.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.typing import Frames, Params


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


@runtime_checkable
class HistoryCost(Protocol):
    """A generator that works on its history, in `fit` and in `step`, before its network sees it."""

    def history_flops(self, context: Frames) -> float:
        """`H`: what that costs for the context of one row, `[1, context, h, w, c]`."""
        ...


def forward_flops(generator: Generator, params: Params, like: Batch) -> float:
    """`F`: one forward call of one row, its loss included, without `H`.

    Args:
        generator: whose network is called.
        params: its parameters, or their shapes.
        like: real clips of a context and a chunk at least, with their condition; only shapes count.
    """
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), like)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    example = jax.eval_shape(functools.partial(clean_example, generator), one, keys)
    whole = flops_of(lambda p, e: generator.fit(p, e).loss, params, example)
    return whole - history_flops(generator, like)


def history_flops(generator: Generator, like: Batch) -> float:
    """`H`: what one row's context costs before the network sees it, 0 where a generator says nothing of it."""
    if not isinstance(generator, HistoryCost):
        return 0.0
    return generator.history_flops(jnp.zeros((1, generator.context_frames, *like.clip.shape[2:])))


def update_flops(generator: Generator, policy: HistoryPolicy, forward: float, rows: int, history: float = 0.0) -> float:
    """Equation (1); `history` is `H`."""
    calls = policy.calls(generator)
    return rows * (forward * calls.forwards + history * (calls.forward + calls.backward))


def harvest_flops(
    generator: Generator, forward: float, reference: float, chains: int, steps: int, history: float = 0.0
) -> float:
    """Equation (2); `reference` is what one row costs the reference, 0 where it has no network."""
    return chains * steps * (generator.calls_per_step * forward + history + reference)
