"""The collapse watch: what it says, which round it keeps, and the watcher that does so in a run."""

import dataclasses
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.training.cost import forward_flops
from recycle_jax.training.loop import Observer, RunState
from recycle_jax.training.watch import Round, Watch
from recycle_jax.training.watcher import Watcher, look, probed

WELL = Round(step=0, clean_loss=1.0, score=0.01, accepted=0.9, age=8.0, gain=0.8)
HARVEST = {"score": 0.01, "accepted": 0.9, "age": 8.0, "banked": 4.0}
PERFECT = {"newest": 2.0 * np.cos(0.5), "older": -1.0, "offset": 0.0}


def rounds(**newest):
    """Four rounds, all well but the newest."""
    return [*(WELL.replace(step=i) for i in range(3)), WELL.replace(step=3, **newest)]


def test_a_healthy_run_hears_nothing():
    assert Watch().warnings(rounds()) == []
    assert Watch().warnings(rounds(clean_loss=4.0, score=0.03, gain=1.5)) == []


@pytest.mark.parametrize(
    "newest,what,remedy",
    [
        ({"clean_loss": 8.5}, "clean loss 8.5 is over 8 x its start 1", "larger share of the batch"),
        ({"gain": 1.7}, "gain 1.7 of a small error is over 2 x its start 0.8", "noise augmentation"),
        ({"score": 0.05}, "rollout errors 0.05 are over 4 x", "tighten the reference's gate"),
        ({"accepted": 0.2}, "only 20% of the cases", "lower max_age"),
        ({"clean_loss": float("nan")}, "clean loss nan", "learning rate"),
        ({"score": float("nan")}, "rollout errors nan", "max_age"),
        ({"accepted": float("nan")}, "only nan%", "max_age"),
    ],
)
def test_each_limit_says_what_and_what_to_do(newest, what, remedy):
    (said,) = Watch().warnings(rounds(**newest))
    assert re.search(what, said) and remedy in said


def test_the_first_rounds_are_too_noisy_to_judge():
    bad = rounds(clean_loss=9.0)
    assert Watch(patience=4).warnings(bad) == [] and Watch(patience=3).warnings(bad)
    assert Watch(patience=3).warnings(bad[1:]) == []


def test_of_two_rounds_the_one_that_does_not_forget_then_the_healthier_is_better():
    watch, better = Watch(), lambda **new: WELL.replace(**new)
    assert watch.better(better(age=16.0), WELL, WELL) and not watch.better(better(age=4.0), WELL, WELL)
    assert watch.better(better(score=0.005), WELL, WELL) and watch.better(better(accepted=0.95), WELL, WELL)
    assert watch.better(WELL, WELL, WELL), "of equals the newer"
    forgot = better(clean_loss=9.0, age=32.0)
    assert not watch.better(forgot, WELL, WELL) and watch.better(WELL, forgot, WELL)
    assert not watch.better(better(clean_loss=float("nan")), WELL, WELL)
    assert not watch.better(better(score=float("nan")), WELL, WELL)


@pytest.mark.parametrize(
    "field,value", [("patience", 1), ("accepted", 1.5), ("forgetting", 0.9), ("gain", float("nan"))]
)
def test_limits_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        Watch(**{field: value})


@pytest.fixture(scope="module")
def held_out(tiny):
    return tiny.Waves(seed=9).batch(0, 8, 3)


@pytest.fixture(scope="module")
def make(program, held_out):
    def make(**fields):
        return Watcher(generator=program.generator, batch=held_out, **fields)

    return make


def state_of(program, step, **params):
    """A run whose newest and averaged parameters are the given ones."""
    train = program.fresh().train
    params = {name: jnp.float32(params.get(name, value)) for name, value in train.params.items()}
    optimizer = train.opt_state._replace(average=params)
    return RunState(train=train.replace(params=params, opt_state=optimizer, step=jnp.int32(step)))


def test_what_is_looked_at_and_kept_is_the_average(program, make):
    watcher, state = make(), state_of(program, 1, **PERFECT)
    noisy = state.train.replace(params={name: value + 1.0 for name, value in state.train.params.items()})
    watcher(RunState(train=noisy), HARVEST)
    assert watcher.rounds[0].clean_loss < 1e-8
    assert watcher.best.params["newest"] == np.float32(PERFECT["newest"])
    assert watcher.result(RunState(train=noisy))["newest"] == np.float32(PERFECT["newest"])


def test_a_look_measures_clean_loss_and_gain(program, make):
    watcher = make()
    watcher(state_of(program, 5, **PERFECT), HARVEST)
    (seen,) = watcher.rounds
    assert seen.step == 5 and seen.clean_loss < 1e-8
    assert seen.gain == pytest.approx(np.hypot(PERFECT["newest"], 1.0), rel=0.1), "a linear step's own gain"
    assert (seen.score, seen.accepted, seen.age) == (0.01, 0.9, 8.0)


def test_held_out_clips_are_no_constant_of_the_compiled_look(program, held_out):
    params = program.fresh().train.params
    key = jax.random.key(0)
    rows = probed(program.generator, held_out)
    constants = jax.make_jaxpr(look(program.generator))(params, rows, key, 0).consts
    assert sum(np.size(constant) for constant in constants) < held_out.clip.size


def test_without_a_harvest_there_is_nothing_to_see(program, make):
    watcher = make()
    state = state_of(program, 1)
    watcher(state, {})
    assert watcher.rounds == [] and watcher.best is None and watcher.result(state) is state.train.params
    assert watcher.cost(state.train.params).flops == 0.0


def test_a_collapsed_run_warns_and_hands_back_its_best_round(program, make):
    watcher = make()
    for step, age in enumerate((6.0, 8.0, 7.0)):
        watcher(state_of(program, step, offset=0.01 * step), {**HARVEST, "age": age})
    assert watcher.best.round.step == 1
    good = state_of(program, 9, offset=0.02)
    assert watcher.result(good) is good.train.params, "the newest, as long as it is well"
    collapsed = state_of(program, 3, offset=3.0)
    with pytest.warns(UserWarning, match="round 4, step 3: clean loss .* give clean rows a larger share"):
        watcher(collapsed, {**HARVEST, "age": 30.0})
    assert watcher.best.round.step == 1
    assert watcher.result(collapsed)["offset"] == jnp.float32(0.01)


def test_the_best_parameters_outlive_the_step_that_donates_them(program, make):
    watcher, state = make(), state_of(program, 0)
    watcher(state, HARVEST)
    jax.tree.map(lambda leaf: leaf.delete(), state.train.params)
    assert watcher.best.params["newest"] == jnp.float32(0.9)


def test_looks_are_charged(program, make):
    watcher = make()
    for step in range(3):
        watcher(state_of(program, step), HARVEST)
    params = program.fresh().train.params
    forward = forward_flops(program.generator, params, watcher.batch)
    assert watcher.cost(params).eval_flops_used_for_choices == 3 * 8 * 3 * forward


def test_a_run_that_goes_on_has_forgotten_nothing(program, make, tmp_path):
    first = make(directory=tmp_path)
    for step, age in ((0, 6.0), (2, 8.0), (4, 7.0)):
        first(state_of(program, step, offset=0.01 * step), {**HARVEST, "age": age})
    second = make(directory=tmp_path)
    again = state_of(program, 4, offset=0.04)
    second(again, {**HARVEST, "age": 7.0})
    assert second.rounds == first.rounds, "a repeated round takes the place of its former self"
    assert second.best.round == first.best.round
    np.testing.assert_array_equal(second.best.params["offset"], jnp.float32(0.02))


def test_held_out_clips_are_checked_when_the_watcher_is_made(program, held_out):
    with pytest.raises(ValueError, match="draw longer clips"):
        Watcher(generator=program.generator, batch=held_out.replace(clip=held_out.clip[:, :2]))
    with pytest.raises(ValueError, match="NaN or Inf"):
        Watcher(generator=program.generator, batch=held_out.replace(clip=held_out.clip.at[0].set(jnp.nan)))


def test_a_run_with_a_watcher_is_the_same_run(program, make):
    watcher = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        state = program.run(program.fresh(), Observer(watch=watcher), watch_every=2)
    plain = program.run(program.fresh(), Observer())
    jax.tree.map(np.testing.assert_array_equal, state.train.params, plain.train.params)
    assert [seen.step for seen in watcher.rounds] == [2, 4, 6, 8, 10]
    assert dataclasses.asdict(watcher.best.round) in [dataclasses.asdict(seen) for seen in watcher.rounds]
