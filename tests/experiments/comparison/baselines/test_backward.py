"""A rollout played backwards: what becomes the history, what the target, and how old they are said to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.backward import Backward, BackwardHarvest
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.rollout.references import Reference
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.predictor import Predictor
from recycle_jax.models.base import Network
from recycle_jax.sharding import make_mesh
from recycle_jax.training.harvest_step import make_harvest

ROWS, FRAME = 4, (2, 2, 1)


def doubling(context_frames=3, chunk_frames=1):
    """Counts on by two a frame, where the clip counts by one."""

    def apply(params, context, level, condition):
        ahead = jnp.arange(1, chunk_frames + 1, dtype=jnp.float32)[None, :, None, None, None]
        return context[:, -1:] + 2.0 * ahead

    network = Network(init=lambda key: {}, apply=apply)
    return Predictor(network=network, context_frames=context_frames, chunk_frames=chunk_frames)


def harvested(generator, steps, max_age=8, min_age=1):
    """What each step makes of all rows, and its row that runs longest."""
    harvest = BackwardHarvest(generator=generator, max_age=max_age, min_age=min_age)
    count = jnp.arange(generator.context_frames, dtype=jnp.float32)[None, :, None, None, None]
    clip = jnp.broadcast_to(count, (ROWS, generator.context_frames, *FRAME))
    fresh = harvest.start(Batch(clip=clip, domain=jnp.zeros(ROWS, jnp.int32)))
    fresh = fresh.replace(limit=jnp.full(ROWS, max_age, jnp.int32))
    chains, cases = fresh, []
    for step in range(steps):
        keys = jax.random.split(jax.random.key(step), ROWS)
        chains, case, write = jax.jit(harvest.advance)({}, Backward(), chains, fresh, keys, jnp.int32(step))
        cases.append((case, write))
    return cases


def numbers(frames):
    return np.asarray(frames)[0, :, 0, 0, 0].tolist()


def test_contexts_and_targets_run_backwards():
    """The rollout 0 1 2 | 4 6 8 10: at each step the four newest frames, the oldest of them the target."""
    cases = harvested(doubling(), 4)
    assert [numbers(case.context) for case, _ in cases] == [[4, 2, 1], [6, 4, 2], [8, 6, 4], [10, 8, 6]]
    assert [numbers(case.target) for case, _ in cases] == [[0], [1], [2], [4]]
    assert [case.ages[0].tolist() for case, _ in cases] == [[1, 0, 0], [2, 1, 0], [3, 2, 1], [4, 3, 2]]


def test_a_chunk_of_several_frames_is_turned_round_whole():
    case, _ = harvested(doubling(3, 2), 2)[1]
    assert numbers(case.context) == [10.0, 8.0, 6.0] and numbers(case.target) == [4.0, 2.0]
    assert case.ages[0].tolist() == [2, 2, 1]


def test_targets_are_real_up_to_the_age_that_the_module_names():
    """`n / t` steps: three for a context of three."""
    targets = [numbers(case.target)[0] for case, _ in harvested(doubling(), 5)]
    assert targets[:3] == [0.0, 1.0, 2.0], "the clip's own frames"
    assert targets[3:] == [4.0, 6.0], "generated ones"


def test_no_case_is_older_than_the_oldest_or_younger_than_the_youngest():
    cases = harvested(doubling(), 4, max_age=3, min_age=2)
    assert [bool(write[0]) for _, write in cases] == [False, True, True, False]


def test_what_is_not_finite_is_lost():
    context = jnp.zeros((2, 3, *FRAME)).at[1, 0].set(jnp.nan)
    referred = Backward()(context, jnp.zeros((2, 1, *FRAME)), context[:, :0], jax.random.split(jax.random.key(0), 2))
    np.testing.assert_array_equal(referred.accept, [True, False])
    np.testing.assert_array_equal(referred.score, 0.0)
    assert isinstance(Backward(), Reference) and not Backward().reads_clip


def test_anchors_stay_in_front_of_what_is_turned_round():
    """The rollout 0 1 2 | 4 6: the anchor 0, then the recent frames and the chunk."""
    cases = harvested(Anchored(inner=doubling()), 2)
    assert [numbers(case.context) for case, _ in cases] == [[0, 4, 2], [0, 6, 4]]
    assert [numbers(case.target) for case, _ in cases] == [[1], [2]]
    assert [case.ages[0].tolist() for case, _ in cases] == [[0, 1, 0], [0, 2, 1]]


@pytest.mark.parametrize("chunk", [1, 2])
def test_cases_go_through_the_harvest_program_into_a_bank(chunk):
    generator = doubling(3, chunk)
    harvest, bank = BackwardHarvest(generator=generator, max_age=3), ErrorBank(capacity=64)
    batch = Batch(clip=jnp.zeros((ROWS, 3, *FRAME)), domain=jnp.zeros(ROWS, jnp.int32))
    program = make_harvest(harvest, bank, make_mesh(jax.devices()[:1]), 6)
    given = (harvest.start(jax.tree.map(jnp.copy, batch)), bank.init(harvest.entry(FRAME)), batch)
    _, state, _ = program({}, Backward(), *given, jax.random.key(0), jnp.int32(0))
    kept = int(state.count.sum())
    ages = np.asarray(bank.read(state).ages)[0, 0, :kept]
    assert kept > 8 and ages.max() == 3 and np.all(np.diff(ages, axis=1) <= 0), "the newest frame comes first"
