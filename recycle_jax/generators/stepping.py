"""A scan that is written out where it is short, for steps that gradients go through.

Inside a loop XLA compiles the gradient of a convolution for CPUs to plain code, some twenty times slower than outside
of one (a rollout of four steps with gradient: `unrolled_over_calls` of `experiments.bench`). Few steps cost little to
compile, so that they stand one after the other; many stay a loop.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax.typing import PyTree

MOST_WRITTEN_OUT = 8
"""Steps up to which a loop is written out."""


def take_steps(
    body: Callable[[PyTree, Array], tuple[PyTree, PyTree]], carry: PyTree, xs: Array
) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan(body, carry, xs)` for `xs` `[steps, …]`, written out where there are few steps."""
    if not 1 <= len(xs) <= MOST_WRITTEN_OUT:
        return jax.lax.scan(body, carry, xs)
    made = []
    for x in xs:
        carry, out = body(carry, x)
        made.append(out)
    return carry, jax.tree.map(lambda *outs: jnp.stack(outs), *made)
