"""The correct program: draw, inject, loss, gradient, update and insert in one compiled call.

The body runs once a device under `shard_map`, on that device's rows and its part of the bank; the only
communication is one mean over devices of the gradient, the loss and the metrics. State and bank are donated.
A step whose loss or gradient is not finite keeps the old state and is counted, without asking the host.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.rng import row_keys
from recycle_jax.sharding import ROLES, first_row, mean_over_data, named, shard_over_data
from recycle_jax.training.state import TrainState
from recycle_jax.typing import PyTree, Scalar

Correct = Callable[[TrainState, PyTree, Batch], tuple[TrainState, PyTree, dict[str, Scalar]]]


def make_correct(
    generator: Generator, policy: HistoryPolicy, optimizer: optax.GradientTransformation, mesh: Mesh
) -> Correct:
    """Compiles nothing yet: returns the jitted `(state, bank, batch) -> (state, bank, metrics)`.

    Args:
        generator: what is trained.
        policy: how its history is made; plain training is `TeacherForcing` with bank None.
        optimizer: an optax transformation.
        mesh: where to run; rows of the batch and shards of the bank must be divisible by its size.

    Returns:
        The program. State and bank are donated: do not use the old ones again.
    """

    def body(state: TrainState, bank: PyTree, batch: Batch) -> tuple[TrainState, PyTree, dict[str, Scalar]]:
        rows = batch.clip.shape[0]
        keys = row_keys(jax.random.fold_in(state.key, state.step), rows, first_row(rows))
        grad = jax.value_and_grad(policy.loss, has_aux=True)
        (loss, aux), gradient = grad(state.params, generator, bank, batch, keys)
        # A sum over all rows, as the mean of what every device has times their number.
        metrics = {**aux.metrics, "empty_draws": mesh.size * aux.empty_draws.astype(jnp.float32)}
        loss, gradient, metrics = mean_over_data((loss, gradient, metrics))
        step = state.step
        state, norm, is_finite = update(state, optimizer, loss, gradient)
        # The policy refuses its own rows: a select between the old and the new bank would copy all of it.
        bank = policy.record(bank, jax.lax.stop_gradient(aux), keys, step, is_finite)
        return state, bank, {**metrics, "loss": loss, "gradient_norm": norm}

    out = (ROLES.params, ROLES.bank, ROLES.params)
    sharded = shard_over_data(body, mesh, (ROLES.params, ROLES.bank, ROLES.rows), out)
    # Said again to jit, which forgets the sharding of arrays without elements and would compile a second time.
    shardings = tuple(named(mesh, role) for role in out)
    return jax.jit(sharded, donate_argnums=(0, 1), out_shardings=shardings)


def update(
    state: TrainState, optimizer: optax.GradientTransformation, loss: Scalar, gradient: PyTree
) -> tuple[TrainState, Scalar, Scalar]:
    """One optimiser step, or none where loss or gradient is not finite: `(state, gradient norm, whether)`."""
    # optax mixes weak and strong types in its schedules: promotion is loosened for this call alone.
    with jax.numpy_dtype_promotion("standard"):
        norm = optax.global_norm(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
    is_finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    new = dataclasses.replace(
        state,
        params=jax.tree.map(lambda a, b: select(is_finite, a, b), params, state.params),
        opt_state=jax.tree.map(lambda a, b: select(is_finite, a, b), opt_state, state.opt_state),
        step=state.step + 1,
        refused=state.refused + jnp.logical_not(is_finite).astype(jnp.int32),
        last_refused=jnp.where(is_finite, state.last_refused, state.step),
    )
    return new, norm, is_finite


def select(is_finite: Scalar, new: Any, old: Any) -> Any:
    """`new` where the step was fine, else `old`."""
    return jnp.where(is_finite, new, old)
