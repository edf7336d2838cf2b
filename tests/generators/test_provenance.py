"""Provenance: real history is told to be real, own history to be own, in rollouts, harvests and replays alike."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Recorded
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.base import Generator, clean_example, go_on, own_level_of, own_levels
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.provenance import Provenance
from recycle_jax.generators.rectified_flow import RectifiedFlow, data_head
from recycle_jax.histories.replay import AddErrors, ReplayCases
from recycle_jax.histories.resampling import ResamplingForcing
from recycle_jax.histories.scheduled import ScheduledSampling
from recycle_jax.histories.unrolled import Unrolled
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout

ROWS, FRAME = 3, (2, 2, 1)
KEY = jax.random.key(3)
KEYS = jax.random.split(KEY, ROWS)
CONTEXT = jnp.zeros((ROWS, 2, *FRAME), jnp.float32)
BATCH = Batch(clip=jnp.zeros((ROWS, 12, *FRAME)), domain=jnp.zeros(ROWS, jnp.int32))


def shown(level, context):
    """A frame of the level that the network is told; of a level for each frame the newest one's."""
    newest = level if level.ndim == 1 else level[:, -1]
    return jnp.broadcast_to(newest[:, None, None, None, None], (context.shape[0], 1, *context.shape[2:]))


def predictor():
    network = Network(init=lambda key: {}, apply=lambda params, context, level, condition: shown(level, context))
    return Predictor(network=network, context_frames=2)


def flow():
    def apply(params, noisy, sigma, context, level, condition):
        return shown(level, context)

    network = Network(init=lambda key: {}, apply=apply)
    return RectifiedFlow(network=network, context_frames=2, steps=2, head=data_head)


BOTH = pytest.mark.parametrize("inner", [predictor(), flow()], ids=["predictor", "flow"])


@BOTH
def test_the_first_step_is_told_that_history_is_real_and_all_others_that_it_is_own(inner):
    rolled = rollout(Provenance(inner=inner, own_level=0.25), {}, CONTEXT, KEY, 4)
    np.testing.assert_allclose(rolled[:, :, 0, 0, 0], [[0.0, 0.25, 0.25, 0.25]] * ROWS, atol=1e-6)


@BOTH
def test_whoever_goes_on_from_own_history_says_so_row_by_row(inner):
    telling = Provenance(inner=inner, own_level=0.25)
    own = jnp.asarray([True, False, True])
    _, chunk = telling.step({}, go_on(telling, {}, CONTEXT, None, own), KEYS, None)
    np.testing.assert_allclose(chunk[:, 0, 0, 0, 0], [0.25, 0.0, 0.25], atol=1e-6)
    plain = go_on(inner, {}, CONTEXT, None, own)
    np.testing.assert_array_equal(plain, CONTEXT, "other generators begin as ever")


@BOTH
def test_it_is_a_generator_that_trains_and_bills_as_the_one_inside(inner):
    telling = Provenance(inner=inner)
    assert isinstance(telling, Generator) and telling.calls_per_step == inner.calls_per_step
    here = telling.fit({}, clean_example(telling, BATCH, KEYS)).loss
    np.testing.assert_array_equal(here, inner.fit({}, clean_example(inner, BATCH, KEYS)).loss)
    assert (own_level_of(telling), own_level_of(inner)) == (0.5, 0.0)


def harvested(generator):
    """A bank of the cases of three steps, and the frames made: the first from real history, the others not."""
    harvest = Harvest(generator=generator, max_age=4)
    bank, reference = ErrorBank(capacity=8), Recorded()
    state, chains, made = bank.init(harvest.entry(FRAME)), harvest.start(BATCH), []
    for step in range(3):
        number = jnp.asarray(step, jnp.int32)
        chains, case, write = harvest.advance({}, reference, chains, chains, KEYS, number)
        made.append(np.asarray(chains.context[:, -1, 0, 0, 0]))
        state = bank.insert(state, case, jnp.zeros_like(case.step), write, keys=KEYS)
    return bank, state, made


def test_a_harvest_tells_chains_that_have_begun():
    _, _, made = harvested(Provenance(inner=predictor(), own_level=0.25))
    np.testing.assert_allclose(made[0], 0.0)
    assert np.max(made[1]) == 0.25


@pytest.mark.parametrize("policy", [ReplayCases, AddErrors])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_histories_with_errors_are_told_to_be_own_besides_their_noise(policy, noise):
    telling = Provenance(inner=predictor(), own_level=0.25)
    bank, state, _ = harvested(telling)
    drawn = policy(bank=bank, noise=noise).examples({}, telling, state, BATCH, KEYS)
    level = np.asarray(drawn.example.level)
    assert np.all(drawn.found) and np.all((level >= 0.25) & (level <= 0.25 + noise))
    empty = policy(bank=bank, noise=noise).examples({}, telling, bank.init(bank_entry(telling)), BATCH, KEYS)
    assert not np.any(empty.found) and np.all(np.asarray(empty.example.level) <= noise)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToldFlow(Provenance):
    """One that can start its sampler in the middle as well."""

    def denoise(self, params, *given):
        return self.inner.denoise(params, *given)


@BOTH
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_scheduled_sampling_tells_which_rows_hold_own_frames(inner, share):
    telling, policy = Provenance(inner=inner, own_level=0.25), ScheduledSampling(share=share)
    drawn = policy.examples({}, telling, None, BATCH, KEYS)
    np.testing.assert_array_equal(drawn.example.level, np.where(drawn.clean, 0.0, 0.25))


@pytest.mark.parametrize("one_pass", [False, True])
def test_resampled_histories_are_told_to_be_own(one_pass):
    telling = ToldFlow(inner=flow(), own_level=0.25)
    drawn = ResamplingForcing(one_pass=one_pass).examples({}, telling, None, BATCH, KEYS)
    np.testing.assert_array_equal(drawn.example.level, 0.25)


@BOTH
@pytest.mark.parametrize("made", [0, 2, 4])
def test_an_unrolled_rollout_tells_every_step_but_those_from_recorded_history(inner, made):
    """The network says what it is told; both kinds are asked for the chunk, and the clips are blank.

    Rollouts of 1, 2 and 3 steps, as a ramp of 4 updates makes them; each begins anew on recorded history.
    """
    telling, policy = Provenance(inner=inner, own_level=0.25), Unrolled(steps=3, gradient=False, ramp=4)
    _, aux = policy.loss({}, telling, jnp.full(1, made, jnp.int32), BATCH, KEYS)
    own = np.arange(3) % (1 + made // 2) != 0
    said = -aux.sigma * aux.residual[..., 0, 0, 0] if isinstance(inner, RectifiedFlow) else aux.residual[..., 0, 0, 0]
    np.testing.assert_allclose(said, [np.where(own, 0.25, 0.0)] * ROWS, atol=1e-5)


@BOTH
def test_an_unrolled_history_is_made_by_steps_that_were_told(inner):
    """A network that says what it is told, and what it said last besides: told levels add up in the history."""
    network = dataclasses.replace(inner.network, apply=adding(inner.network.apply))
    telling = Provenance(inner=dataclasses.replace(inner, network=network), own_level=0.25)
    _, aux = Unrolled(steps=4, gradient=False).loss({}, telling, None, BATCH, KEYS)
    said = -aux.sigma * aux.residual[..., 0, 0, 0] if isinstance(inner, RectifiedFlow) else aux.residual[..., 0, 0, 0]
    rolled = rollout(telling, {}, CONTEXT, KEY, 4)[:, :, 0, 0, 0]
    np.testing.assert_allclose(rolled, [[0.0, 0.25, 0.5, 0.75]] * ROWS, atol=1e-5)
    np.testing.assert_allclose(said, rolled, atol=1e-5)


def adding(apply):
    return lambda params, *inputs: apply(params, *inputs) + inputs[-3][:, -1:]


@BOTH
def test_generators_that_tell_nothing_get_the_examples_of_teacher_forcing(inner):
    drawn = ScheduledSampling(share=1.0).examples({}, inner, None, BATCH, KEYS)
    np.testing.assert_array_equal(drawn.example.level, 0.0)
    np.testing.assert_array_equal(own_levels(inner, jnp.ones(ROWS, bool)), jnp.zeros(ROWS, jnp.float32))


def bank_entry(generator):
    return Harvest(generator=generator, max_age=4).entry(FRAME)


def test_levels_outside_and_generators_that_cannot_be_told_are_refused():
    with pytest.raises(ValueError, match=r"own_level is 0.0, must lie in \(0, 1\]"):
        Provenance(inner=predictor(), own_level=0.0)
    for inner in (Anchored(inner=predictor()), Provenance(inner=predictor())):
        with pytest.raises(TypeError, match=f"{type(inner).__name__} has no network of its own to be told"):
            Provenance(inner=inner)
