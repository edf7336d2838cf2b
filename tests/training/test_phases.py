"""The recipe: plain training learns, and recycling fills its bank from rollouts and trains on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.controls import foreign, stale
from experiments.comparison.baselines.relay import Relay
from recycle_jax.errors.bank import capacity
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.threshold import AdaptiveThreshold
from recycle_jax.errors.rollout.references import Gate, Recorded
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.memories import bank_of
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.one_step import one_step
from recycle_jax.histories.recipe import Recycling
from recycle_jax.histories.replay import ReplayCases
from recycle_jax.sharding import ROLES, make_mesh, place
from recycle_jax.training.harvest_step import make_harvest
from recycle_jax.training.loop import Observer, Schedule
from recycle_jax.training.phases import Adam, recycle_phase, train_phase


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(jax.devices()[:1])


def test_a_phase_learns_the_waves_and_leaves_its_start_alone(tiny, mesh):
    records, generator = [], tiny.line()
    start = generator.init(jax.random.key(0))
    params = train_phase(
        generator,
        TeacherForcing(),
        tiny.Waves(),
        Schedule(updates=200, rows=8, frames=3, log_every=20),
        jax.random.key(0),
        mesh,
        params=start,
        adam=Adam(learning_rate=0.05),
        observer=Observer(log=records.append),
    )
    assert records[-1]["loss"] < 0.05 * records[0]["loss"]
    assert params["newest"] == pytest.approx(2.0 * np.cos(0.5), abs=0.2)
    assert float(start["newest"]) == np.float32(0.9), "the caller's parameters were donated"


@pytest.mark.parametrize(
    "policy",
    [Relay(max_age=1, capacity=64), Mixture(parts=((1, one_step(bank=ErrorBank(capacity=64))), (1, TeacherForcing())))],
    ids=["relay", "one-step errors, mixed"],
)
def test_a_policys_bank_that_does_not_fit_is_refused_before_it_is_made(tiny, mesh, monkeypatch, policy):
    generator, made = tiny.line(), []
    init = ErrorBank.init

    def seen(bank, entry):
        state = init(bank, entry)
        made.append(not isinstance(state.count, jax.core.Tracer))
        return state

    monkeypatch.setattr(ErrorBank, "init", seen)
    monkeypatch.setattr(capacity, "_free_bytes", lambda device, here: 4000)
    schedule = Schedule(updates=2, rows=4, frames=policy.clip_frames(generator))
    with pytest.raises(MemoryError, match=r"capacity=64 needs .* are free: use capacity=\d+"):
        train_phase(generator, policy, tiny.Waves(), schedule, jax.random.key(0), mesh, shards=1)
    assert not any(made), "it was allocated first"


PLAIN = Recycling(noise=0.03, repair_prob=0.0, max_displacement_px=None, gradient_normalized=False)
RECYCLING = dataclasses.replace(PLAIN, chains=4, max_age=3, harvest_every=2, capacity=8)


@pytest.mark.parametrize("gradient_normalized", [False, True])
def test_recycling_fills_its_bank_and_trains_on_it(tiny, mesh, gradient_normalized):
    records, generator = [], tiny.line()
    recycling = dataclasses.replace(RECYCLING, gradient_normalized=gradient_normalized)
    start = generator.init(jax.random.key(0))
    state = recycle_phase(
        generator,
        start,
        Recorded(gate=Gate(distance=10.0, mass=10.0)),
        tiny.Waves(),
        recycling,
        Schedule(updates=6, rows=4, frames=3, log_every=2),
        jax.random.key(0),
        mesh,
        observer=Observer(log=records.append),
    )
    bank = recycling.bank()
    assert bank.stats(state.bank)["entries"][0] == 8
    cases = bank.read(state.bank)
    newest = np.asarray(cases.ages)[..., -1]
    assert newest.min() >= 1 and newest.max() <= 3, "ages are those of the recipe"
    assert set(np.unique(cases.step)) <= {0, 2, 4} and np.all(np.asarray(cases.score) > 0.0)
    assert all(record["harvest_banked"] > 0 for record in records) and "loss_recycled" in records[-1]
    assert state.train.params["newest"] != start["newest"]


def test_recycling_goes_on_from_a_checkpoint(tiny, mesh, tmp_path):
    bank = RECYCLING.bank()

    def run(**observer):
        return recycle_phase(
            tiny.line(),
            tiny.line().init(jax.random.key(0)),
            Recorded(gate=Gate(distance=10.0, mass=10.0)),
            tiny.Waves(),
            RECYCLING,
            Schedule(updates=6, rows=8, frames=3, watch_every=3),
            jax.random.key(0),
            mesh,
            observer=Observer(**observer),
        )

    whole = run()
    assert bank.stats(bank_of(whole.bank))["entries"][0] == 8
    half = run(checkpoints=tmp_path, watch=lambda state, harvest: "half of it")
    again = run(checkpoints=tmp_path)
    assert (int(half.train.step), int(again.train.step)) == (3, 6)
    jax.tree.map(np.testing.assert_array_equal, again.bank, whole.bank)


def test_even_rows_change_what_is_learned_and_nothing_else(tiny, mesh):
    """The same batches, keys and errors at first; other weights, so other parameters after the first update."""

    def run(recycling):
        return recycle_phase(
            tiny.line(),
            tiny.line().init(jax.random.key(0)),
            Recorded(gate=Gate(distance=10.0, mass=10.0)),
            tiny.Waves(),
            recycling,
            Schedule(updates=1, rows=4, frames=3),
            jax.random.key(0),
            mesh,
        )

    plain, even = run(RECYCLING), run(dataclasses.replace(RECYCLING, gradient_normalized=True))
    jax.tree.map(np.testing.assert_array_equal, even.bank, plain.bank)
    moments = [jax.tree.leaves(state.train.opt_state) for state in (plain, even)]
    assert any(not np.allclose(a, b) for a, b in zip(*moments, strict=True))


class OwnPredictor:
    """A user's generator with the methods of a predictor, which says nothing of itself."""

    context_frames, chunk_frames, calls_per_step = 2, 1, 1

    def __init__(self, line):
        self.line = line
        for name in ("init", "corruption", "fit", "to_error", "begin", "step"):
            setattr(self, name, getattr(line, name))


def test_an_own_deterministic_generator_gets_the_recipe_of_a_predictor(tiny, mesh):
    """Who draws nothing loses chains beyond a displacement; a bound that loses all of them shows whom it holds for."""
    bounded = dataclasses.replace(RECYCLING, max_displacement_px=1e-6)

    def banked(generator):
        start, schedule = tiny.line().init(jax.random.key(0)), Schedule(updates=1, rows=4, frames=3)
        gate = Recorded(gate=Gate(distance=10.0, mass=10.0))
        state = recycle_phase(generator, start, gate, tiny.Waves(), bounded, schedule, jax.random.key(0), mesh)
        return int(state.bank.inserted.sum())

    assert banked(OwnPredictor(tiny.line())) == banked(tiny.line()) == 0


def recycled(tiny, mesh, **parts):
    """The bank's cases after a short run with other parts."""
    state = recycle_phase(
        tiny.line(),
        tiny.line().init(jax.random.key(0)),
        Recorded(gate=Gate(distance=10.0, mass=10.0)),
        tiny.Waves(),
        RECYCLING,
        Schedule(updates=6, rows=4, frames=3),
        jax.random.key(0),
        mesh,
        **parts,
    )
    return RECYCLING.bank().read(state.bank), state.bank


@pytest.mark.parametrize("kept", ["newest", "stale", "foreign"])
def test_another_program_changes_whose_errors_are_banked_and_when(tiny, mesh, kept):
    """A stale bank keeps the tags of its first round; this foreign model makes nothing but zeros."""
    generator = tiny.line()
    program = make_harvest(RECYCLING.harvest(generator), RECYCLING.bank(), mesh, RECYCLING.harvest_steps)
    if kept == "stale":
        program = stale(program, 2)
    if kept == "foreign":
        zeros = jax.tree.map(jnp.zeros_like, generator.init(jax.random.key(0)))
        program = foreign(program, place(zeros, mesh, ROLES.params))
    cases, _ = recycled(tiny, mesh, program=program)
    assert set(np.unique(cases.step)) <= ({0} if kept == "stale" else {0, 2, 4})
    newest = np.asarray(cases.context)[..., -1, :, :, :]
    assert np.all(newest == 0.0) == (kept == "foreign")


def test_another_bank_may_admit_by_a_threshold_of_each_domain(tiny, mesh):
    bank = dataclasses.replace(RECYCLING.bank(), threshold=AdaptiveThreshold(level=0.5, warmup=0))
    _, usual = recycled(tiny, mesh)
    _, chosen = recycled(tiny, mesh, bank=bank)
    assert 0 < int(chosen.inserted.sum()) < 0.8 * int(usual.inserted.sum()), "half of the cases are worth banking"
    assert int(chosen.thresholds.seen.sum()) >= int(usual.inserted.sum())


def test_the_policy_shares_the_rows_out(tiny):
    recycling = dataclasses.replace(PLAIN, replay_fraction=0.25, noise=0.0)
    policy = recycling.policy(recycling.bank(), tiny.line())
    assert isinstance(policy, Mixture) and policy.parts[0] == (3, TeacherForcing())
    assert policy.parts[1] == (1, ReplayCases(bank=recycling.bank()))
    noisy = dataclasses.replace(PLAIN, noise=0.1)
    assert noisy.policy(noisy.bank(), tiny.line()).parts[0][1].most == 0.1


def test_a_capacity_that_shards_cannot_share_is_refused():
    with pytest.raises(ValueError, match="capacity 10 is not divisible by 4 shards: use 8"):
        Recycling(capacity=10, shards=4).bank()


def test_the_learning_rate_rises_and_falls():
    optimizer = Adam(learning_rate=1.0, warmup=0.5, floor=0.1).build(4)
    assert optimizer.init({}) is not None
    assert Adam().build(1) is not None, "one update is a phase too"
