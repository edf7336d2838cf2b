"""Averaged parameters: what a phase of training hands out.

The last parameters of a phase carry the noise of its last batches. One step's loss hardly shows it; a rollout applies
the same slip a thousand times and does. An exponential moving average over the last `horizon` updates,

    a <- a + (theta - a) / horizon                                                                       (1)

takes most of it away (averaging of iterates: Polyak and Juditsky 1992, doi 10.1137/0330046; as diffusion models are
sampled since arXiv 2006.11239, appendix B). It lives in the optimiser's state, so that checkpoints hold it and a
refused step leaves it alone.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from recycle_jax.training.state import TrainState
from recycle_jax.typing import Params


class EmaState(NamedTuple):
    """State of `with_ema`: the inner optimiser's, and the average of the parameters."""

    inner: Any
    average: Params


def with_ema(inner: optax.GradientTransformation, horizon: float) -> optax.GradientTransformation:
    """An optimiser that also averages the parameters which it makes; its updates are the inner one's.

    Args:
        inner: any optimiser.
        horizon: updates that the average looks back, at least 1, which keeps the newest parameters.

    Raises:
        ValueError: if `horizon` is below 1; when used without parameters.
    """
    if not horizon >= 1.0:
        raise ValueError(f"horizon is {horizon}, must be at least 1 update: 1 keeps the newest parameters")

    def init(params: Params) -> EmaState:
        return EmaState(inner.init(params), jax.tree.map(jnp.copy, params))

    def update(gradient: Any, state: EmaState, params: Params | None = None) -> tuple[Any, EmaState]:
        if params is None:
            raise ValueError("an average needs the parameters: call update(gradient, state, params)")
        updates, of_inner = inner.update(gradient, state.inner, params)
        newest = optax.apply_updates(params, updates)
        return updates, EmaState(of_inner, optax.incremental_update(newest, state.average, 1.0 / horizon))

    return optax.GradientTransformation(init, update)


def ema_params(train: TrainState) -> Params:
    """The averaged parameters where the optimiser keeps an average, else the newest."""
    return train.opt_state.average if isinstance(train.opt_state, EmaState) else train.params
