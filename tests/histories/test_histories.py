"""Policies without a bank: what context each makes, and how a mixture deals the rows."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import rng
from recycle_jax.generators.base import clean_example, slide
from recycle_jax.histories.base import ExamplePolicy, HistoryPolicy, all_clean
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.histories.pushforward import Pushforward

PARAMS = {"gain": jnp.float32(0.9)}


@functools.partial(jax.jit, static_argnums=(0, 1))
def examples(policy, generator, batch, keys):
    return policy.examples(PARAMS, generator, None, batch, keys)


def test_teacher_forcing_is_the_batch(predictor, batch_of, keys_of):
    batch = batch_of(4, 5)
    drawn = examples(TeacherForcing(), predictor, batch, keys_of(4))
    np.testing.assert_array_equal(drawn.example.context, batch.clip[:, :2])
    np.testing.assert_array_equal(drawn.example.x0, batch.clip[:, 2:3])
    np.testing.assert_array_equal(drawn.example.x_injected, drawn.example.x0)
    assert np.all(drawn.clean) and np.all(drawn.found) and not np.any(drawn.example.level)


def test_the_loss_is_the_mean_of_the_generators_own(predictor, batch_of, keys_of):
    batch, keys = batch_of(4), keys_of(4)
    policy = TeacherForcing()
    assert isinstance(policy, HistoryPolicy)
    loss, aux = policy.loss(PARAMS, predictor, None, batch, keys)
    fit = predictor.fit(PARAMS, clean_example(predictor, batch, keys))
    assert loss == fit.loss.mean()
    np.testing.assert_array_equal(aux.residual, fit.residual)
    np.testing.assert_allclose(aux.metrics["loss_clean_sum"], fit.loss.sum(), rtol=1e-6)
    assert aux.metrics["rows_clean"] == 4.0 and aux.metrics["rows_recycled"] == 0.0 and aux.empty_draws == 0
    assert policy.record(None, aux, keys, jnp.int32(0), jnp.asarray(True)) is None


def test_noise_of_level_0_is_clean(predictor, batch_of, keys_of):
    batch, keys = batch_of(4), keys_of(4)
    noised = examples(NoiseAugmentation(most=0.0), predictor, batch, keys)
    clean = examples(TeacherForcing(), predictor, batch, keys)
    jax.tree.map(np.testing.assert_array_equal, noised, clean)


def test_the_network_is_told_how_noisy_its_context_is(predictor, batch_of, keys_of):
    batch = dataclasses.replace(batch_of(64), clip=jnp.zeros((64, 3, 8, 8, 1)))
    example = examples(NoiseAugmentation(most=0.2), predictor, batch, keys_of(64)).example
    assert example.level.min() >= 0.0 and 0.15 < example.level.max() <= 0.2
    strength = np.std(np.asarray(example.context), axis=(1, 2, 3, 4))
    np.testing.assert_allclose(strength, example.level, rtol=0.4, atol=1e-6)
    np.testing.assert_array_equal(example.x0, 0.0)
    with pytest.raises(ValueError, match=r"most is 1.5.*\[0, 1\]"):
        NoiseAugmentation(most=1.5)


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_pushforward_is_a_rollout_made_by_hand(kind, request, batch_of, keys_of):
    generator = request.getfixturevalue(kind)
    batch, keys = batch_of(16, 4), keys_of(16)
    drawn = examples(Pushforward(steps=1), generator, batch, keys)
    of_step = jax.vmap(jax.random.fold_in, (0, None))(rng.split_rows(keys, 3)[2], 0)
    context = batch.clip[:, :2]
    _, chunk = generator.step(PARAMS, generator.begin(PARAMS, context, None), of_step, None)
    pushed = ~np.asarray(drawn.clean)
    assert 0 < pushed.sum() < 16, "a row draws 0 or 1 steps"
    example = drawn.example
    np.testing.assert_allclose(example.context[pushed], slide(context, chunk)[pushed], rtol=1e-6)
    np.testing.assert_array_equal(example.x0[pushed], batch.clip[pushed, 3:4])
    np.testing.assert_array_equal(example.context[~pushed], context[~pushed])
    np.testing.assert_array_equal(example.x0[~pushed], batch.clip[~pushed, 2:3])


def test_pushforward_carries_no_gradient_and_needs_long_clips(predictor, batch_of, keys_of):
    def context_sum(params):
        drawn = Pushforward(steps=2).examples(params, predictor, None, batch_of(4, 5), keys_of(4))
        return drawn.example.context.sum()

    assert jax.grad(context_sum)(PARAMS)["gain"] == 0.0
    with pytest.raises(ValueError, match="clips of 4 frames .* 2 pushforward steps: draw clips of 5"):
        examples(Pushforward(steps=2), predictor, batch_of(4, 4), keys_of(4))
    with pytest.raises(ValueError, match="TeacherForcing"):
        Pushforward(steps=0)


@dataclasses.dataclass(frozen=True)
class Marked(ExamplePolicy):
    """Sets the level of its rows to `mark`; odd clips are neither clean nor found."""

    mark: float

    def examples(self, params, generator, bank, batch, keys):
        example = clean_example(generator, batch, keys, level=jnp.full(len(keys), self.mark))
        even = batch.domain % 2 == 0
        return dataclasses.replace(all_clean(example), clean=even, found=even)


@pytest.mark.parametrize("parts", [(1, 1), (3, 1), (1, 2, 1)])
def test_a_mixture_deals_rows_in_turn_and_keeps_their_order(parts, predictor, batch_of, keys_of):
    policy = Mixture(parts=tuple((rows, Marked(float(i))) for i, rows in enumerate(parts)))
    batch = batch_of(3 * sum(parts))
    drawn = examples(policy, predictor, batch, keys_of(len(batch.domain)))
    np.testing.assert_array_equal(drawn.example.level, np.tile(np.repeat(np.arange(len(parts)), parts), 3))
    np.testing.assert_array_equal(drawn.example.context, batch.clip[:, :2])
    np.testing.assert_array_equal(drawn.example.x0, batch.clip[:, 2:3])
    np.testing.assert_array_equal(drawn.clean, batch.domain % 2 == 0)
    np.testing.assert_array_equal(drawn.found, drawn.clean)


def test_a_mixture_of_one_is_that_one(flow, batch_of, keys_of):
    batch, keys = batch_of(4), keys_of(4)
    alone, mixed = (
        examples(policy, flow, batch, keys) for policy in (TeacherForcing(), Mixture(parts=((2, TeacherForcing()),)))
    )
    jax.tree.map(np.testing.assert_array_equal, alone, mixed)


def test_a_mixture_that_does_not_come_out_even_is_refused(predictor, batch_of, keys_of):
    policy = Mixture(parts=((2, TeacherForcing()), (1, NoiseAugmentation(most=0.1))))
    with pytest.raises(ValueError, match=r"4 rows .* 2/1: use a multiple of 3"):
        examples(policy, predictor, batch_of(4), keys_of(4))
    with pytest.raises(ValueError, match="rows >= 1"):
        Mixture(parts=((0, TeacherForcing()),))
