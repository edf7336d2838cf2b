"""Averaged parameters: what a phase of training hands out.

The last parameters of a phase carry the noise of its last batches. One step's loss hardly shows it; a rollout applies
the same slip a thousand times and does. An exponential moving average over the last `horizon` updates,

    a <- a + (theta - a) / horizon                                                                       (1)

takes most of it away (averaging of iterates: Polyak and Juditsky 1992, doi 10.1137/0330046; as diffusion models are
sampled since arXiv 2006.11239, appendix B). With a constant horizon of .3 of a phase, though, a tenth of the average
was made in the phase's first third, and a thirtieth is what the phase began with: for a phase that is there to mend
something, a tenth of what it mends. That is not noise but a bias, which a rollout adds up. A horizon that grows with
the updates t that are done,

    horizon_t = max(1, share t)        so that update s weighs about  s^(1 / share - 1)                  (2)

forgets the beginning as fast as it learns (polynomial-decay averaging: Shamir and Zhang, arXiv 1212.1824, section 4)
and asks for no length to be known. It lives in the optimiser's state, so that checkpoints hold it and a refused step
leaves it alone.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from recycle_jax.training.state import TrainState
from recycle_jax.typing import Params


class EmaState(NamedTuple):
    """State of `with_ema`: the inner optimiser's, the average of the parameters, and the updates made, int32 `[]`."""

    inner: Any
    average: Params
    made: Array


def with_ema(inner: optax.GradientTransformation, horizon: float | optax.Schedule) -> optax.GradientTransformation:
    """An optimiser that also averages the parameters which it makes; its updates are the inner one's.

    Args:
        inner: any optimiser.
        horizon: updates that the average looks back, at least 1, or a schedule of it by updates made, such as
            `growing`; 1 keeps the newest parameters.

    Raises:
        ValueError: if `horizon` is a number below 1; when used without parameters.
    """
    if not callable(horizon) and not horizon >= 1.0:
        raise ValueError(f"horizon is {horizon}, must be at least 1 update: 1 keeps the newest parameters")
    back = horizon if callable(horizon) else optax.constant_schedule(horizon)

    def init(params: Params) -> EmaState:
        return EmaState(inner.init(params), jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32))

    def update(gradient: Any, state: EmaState, params: Params | None = None) -> tuple[Any, EmaState]:
        if params is None:
            raise ValueError("an average needs the parameters: call update(gradient, state, params)")
        updates, of_inner = inner.update(gradient, state.inner, params)
        newest, made = optax.apply_updates(params, updates), state.made + 1
        average = optax.incremental_update(newest, state.average, 1.0 / back(made))
        return updates, EmaState(of_inner, average, made)

    return optax.GradientTransformation(init, update)


def growing(share: float) -> optax.Schedule:
    """The horizon (2): that share of the updates made, at least 1.

    Raises:
        ValueError: if `share` is not in (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share is {share}, must lie in (0, 1]: 1 averages all updates alike, near 0 keeps the newest")
    return lambda made: jnp.maximum(1.0, share * jnp.asarray(made, jnp.float32))


def ema_params(train: TrainState) -> Params:
    """The averaged parameters where the optimiser keeps an average, else the newest."""
    return train.opt_state.average if isinstance(train.opt_state, EmaState) else train.params


def all_averages(train: TrainState) -> list[Params]:
    """Every average that a state holds, that which is handed out first; the newest parameters where it holds none."""
    found, state = [], train.opt_state
    while isinstance(state, EmaState):
        found.append(state.average)
        state = state.inner
    return found or [train.params]
