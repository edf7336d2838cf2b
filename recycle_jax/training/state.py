"""The state that training carries from step to step."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh

from recycle_jax.generators.base import Generator
from recycle_jax.sharding import ROLES, named, place
from recycle_jax.typing import Params, PRNGKey, Scalar


@struct.dataclass(kw_only=True)
class TrainState:
    """Parameters, optimiser and counters; replicated over devices.

    Attributes:
        params: float32 pytree.
        opt_state: the optimiser's state.
        key: typed PRNG key, constant for a run; every step folds its number into it.
        step: int32, steps taken so far, refused ones included.
        refused: int32, steps whose loss or gradient was not finite and which changed nothing.
        last_refused: int32, the newest such step, -1 where none.
    """

    params: Params
    opt_state: Any
    key: PRNGKey
    step: Scalar
    refused: Scalar
    last_refused: Scalar


def init_state(generator: Generator, optimizer: optax.GradientTransformation, key: PRNGKey) -> TrainState:
    """A fresh state: parameters from one half of `key`, the rest of training from the other."""
    of_params, of_steps = jax.random.split(key)
    return with_optimizer(generator.init(of_params), optimizer, of_steps)


def with_optimizer(params: Params, optimizer: optax.GradientTransformation, key: PRNGKey) -> TrainState:
    """A state at step 0 around given parameters, as recycling starts from B."""
    return TrainState(
        params=params,
        opt_state=optimizer.init(params),
        key=key,
        step=jnp.zeros((), jnp.int32),
        refused=jnp.zeros((), jnp.int32),
        last_refused=jnp.full((), -1, jnp.int32),
    )


def placed_state(
    generator: Generator,
    optimizer: optax.GradientTransformation,
    key: PRNGKey,
    mesh: Mesh,
    params: Params | None = None,
) -> TrainState:
    """A state that is made where it is to lie, and shares no memory with what the caller passed: it may be donated.

    Args:
        generator: makes the parameters where none are given; its `init` is traced.
        optimizer: an optax transformation.
        key: of the phase.
        mesh: from `make_mesh`.
        params: to start from, or None.
    """
    there = named(mesh, ROLES.params)
    state: TrainState
    own_key = place(key, mesh, ROLES.params, copy=True)
    if params is None:
        fresh = functools.partial(init_state, generator, optimizer)
        state = jax.jit(fresh, out_shardings=there)(own_key)
    else:
        around = functools.partial(with_optimizer, optimizer=optimizer)
        own = place(params, mesh, ROLES.params, copy=True)
        state = jax.jit(around, out_shardings=there)(own, key=own_key)
    return state
