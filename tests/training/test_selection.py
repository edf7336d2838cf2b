"""The choice among averages: rollouts that stay real win, whatever their one-step loss, and the price is right."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.sharding import make_mesh
from recycle_jax.training.ema import all_averages, ema_params, growing, with_ema
from recycle_jax.training.loop import Schedule
from recycle_jax.training.phases import Adam, train_phase
from recycle_jax.training.selection import Selection
from recycle_jax.training.state import with_optimizer

SELECTION = Selection(averages=(0.5,), rollouts=4, frames=32, window=4, clips=40)
TURN = 2.0 * np.cos(0.5)


def params(newest, older, offset=0.0):
    return {"newest": jnp.float32(newest), "older": jnp.float32(older), "offset": jnp.float32(offset)}


TRUE, FADES, FREEZES, BURSTS = params(TURN, -1.0), params(0.9 * TURN, -0.81), params(1.0, 0.0), params(2.0, 0.2)


@pytest.mark.parametrize("others", [(FADES, FREEZES, BURSTS), (BURSTS, FADES), (FREEZES,)])
def test_what_stays_real_is_chosen_wherever_it_stands(tiny, others):
    generator, key = tiny.line(), jax.random.key(0)
    for place in range(len(others) + 1):
        candidates = [*others[:place], TRUE, *others[place:]]
        choice = SELECTION.choose(generator, candidates, tiny.Waves(), key)
        assert choice.number == place and choice.params is TRUE
        assert choice.lasted[place] == SELECTION.frames > max(n for i, n in enumerate(choice.lasted) if i != place)


def test_of_equals_the_first_is_chosen(tiny):
    twin = jax.tree.map(jnp.copy, TRUE)
    assert SELECTION.choose(tiny.line(), [TRUE, twin], tiny.Waves(), jax.random.key(0)).number == 0


def test_real_video_stays_in_its_bands(tiny):
    bands = SELECTION.monitor(tiny.line(), tiny.Waves()).bands
    assert bands is not None and bands.real_exit_fraction <= 0.2
    assert set(bands.statistics) == {"nonfinite", "motion", "retention", "sharpness", "contrast"}


def test_nothing_to_choose_from_is_refused(tiny):
    with pytest.raises(ValueError, match="no candidates"):
        SELECTION.choose(tiny.line(), [], tiny.Waves(), jax.random.key(0))
    with pytest.raises(ValueError, match="rollouts is 0, must be at least 1: raise it"):
        Selection(rollouts=0)


def test_its_price_is_every_call_of_every_candidate(tiny):
    generator = tiny.line()
    assert SELECTION.calls(generator) == 2 * 4 * 32 * generator.calls_per_step


def test_a_state_holds_all_averages_the_usual_one_first():
    start = {"a": jnp.float32(0.0)}
    optimizer = with_ema(with_ema(optax.sgd(1.0), growing(0.5)), 100.0)
    state = with_optimizer(start, optimizer, jax.random.key(0))
    for _ in range(3):
        updates, inner = optimizer.update({"a": jnp.float32(-1.0)}, state.opt_state, state.params)
        state = state.replace(params=optax.apply_updates(state.params, updates), opt_state=inner)
    usual, other = all_averages(state)
    assert usual is ema_params(state)
    assert float(usual["a"]) < 0.1 and float(other["a"]) > 1.5


def test_a_phase_hands_out_what_is_picked(tiny):
    """Among three averages, of which the picker takes the last."""
    seen = []

    def last(train):
        seen.extend(all_averages(train))
        return seen[-1]

    schedule, mesh = Schedule(updates=4, rows=4, frames=3), make_mesh(jax.devices()[:1])
    given = {"adam": Adam(learning_rate=0.01, others=(0.2, 0.6)), "pick": last}
    made = train_phase(tiny.line(), TeacherForcing(), tiny.Waves(), schedule, jax.random.key(0), mesh, **given)
    assert len(seen) == 3 and made is seen[-1]


def test_picking_is_choosing_among_the_averages_of_a_state(tiny):
    generator, key = tiny.line(), jax.random.key(0)
    state = with_optimizer(FREEZES, with_ema(with_ema(optax.sgd(1.0), growing(0.5)), 2.0), jax.random.key(0))
    inner = state.opt_state.inner._replace(average=TRUE)
    state = state.replace(opt_state=state.opt_state._replace(inner=inner))
    assert SELECTION.pick(generator, tiny.Waves(), key)(state) is TRUE
