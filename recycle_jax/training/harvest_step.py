"""The harvest program: every chain some steps on, and its cases into the bank, in one compiled call."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.storage import BankState
from recycle_jax.errors.rollout.harvest import Chains, Harvest
from recycle_jax.errors.rollout.references import Reference
from recycle_jax.rng import row_keys
from recycle_jax.sharding import ROLES, first_row, named, shard_over_data, sum_over_data
from recycle_jax.typing import Params, PRNGKey, Scalar

HarvestProgram = Callable[
    [Params, Reference, Chains, BankState, Batch, PRNGKey, Scalar],
    tuple[Chains, BankState, dict[str, Scalar]],
]
HARVEST_STREAM = 0x4841
"""Folded into the run's key, so that harvests draw apart from the corrections, whose keys start from the same one."""


def make_harvest(harvest: Harvest, bank: ErrorBank, mesh: Mesh, steps: int) -> HarvestProgram:
    """The jitted `(params, reference, chains, bank, fresh, key, step) -> (chains, bank, metrics)`.

    Chains and bank are donated and sharded over rows and shards; `fresh` holds a real clip a chain, on which
    chains start anew. Cases all go into slot 0. Metrics are means over the cases of this call: `score`, `age`
    (of the newest context frame), `accepted` (share of aged cases that passed the gate), `banked` (a count).

    Raises:
        ValueError: if `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"a harvest of {steps} steps gathers nothing: use at least 1")

    def body(
        params: Params,
        reference: Reference,
        chains: Chains,
        state: BankState,
        fresh: Batch,
        key: PRNGKey,
        step: Scalar,
    ) -> tuple[Chains, BankState, dict[str, Scalar]]:
        restart = harvest.start(fresh)
        of_call = jax.random.fold_in(jax.random.fold_in(key, HARVEST_STREAM), step)

        def one(carry: tuple[Chains, BankState], i: Array) -> tuple[tuple[Chains, BankState], Array]:
            chains, state = carry
            rows = chains.position.shape[0]
            keys = row_keys(jax.random.fold_in(of_call, i), rows, first_row(rows))
            chains, case, accepted = harvest.advance(params, reference, chains, restart, keys, step)
            write, state = bank.admit(state, case.score, case.domain, accepted)
            state = bank.insert(state, case, jnp.zeros_like(case.step), write, keys=keys)
            newest = case.ages.max(axis=1)
            aged = (newest >= harvest.min_age) & (newest <= harvest.max_age)
            return (chains, state), _sums(case.score, newest, aged, accepted, write)

        (chains, state), sums = jax.lax.scan(one, (chains, state), jnp.arange(steps, dtype=jnp.int32))
        aged, accepted, banked, score, age = sum_over_data(sums.sum(axis=0))
        per_case = jnp.maximum(accepted, 1.0)
        metrics = {
            "score": score / per_case,
            "age": age / per_case,
            "accepted": accepted / jnp.maximum(aged, 1.0),
            "banked": banked,
        }
        return chains, state, metrics

    same, rows, shards = ROLES.params, ROLES.rows, ROLES.bank
    roles, out = (same, same, rows, shards, rows, same, same), (rows, shards, same)
    # Said again to jit, which forgets the sharding of arrays without elements and would compile a second time.
    shardings = tuple(named(mesh, role) for role in out)
    return jax.jit(shard_over_data(body, mesh, roles, out), donate_argnums=(2, 3), out_shardings=shardings)


def _sums(score: Array, age: Array, aged: Array, accepted: Array, write: Array) -> Array:
    kept = accepted.astype(jnp.float32)
    return jnp.stack(
        [
            aged.astype(jnp.float32).sum(),
            kept.sum(),
            write.astype(jnp.float32).sum(),
            (kept * score).sum(),
            (kept * age.astype(jnp.float32)).sum(),
        ]
    )
