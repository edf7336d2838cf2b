"""Unrolled training: the rollout made by hand, whose gradient goes where, the curriculum, and the bill."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import clean_example, slide
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.base import Calls, HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.unrolled import Unrolled
from recycle_jax.models.conv import frame_unet
from recycle_jax.training.cost import flops_of, forward_flops

PARAMS = {"gain": jnp.float32(0.9)}
NOG, WIG = (functools.partial(Unrolled, gradient=gradient) for gradient in (False, True))


@functools.partial(jax.jit, static_argnums=(0, 1))
def loss(policy, generator, params, memory, batch, keys):
    return policy.loss(params, generator, memory, batch, keys)


@functools.partial(jax.jit, static_argnums=(0, 1))
def slope(policy, generator, batch, keys, memory=None, gain=PARAMS["gain"]):
    return jax.grad(lambda g: policy.loss({"gain": g}, generator, memory, batch, keys)[0])(gain)


@functools.partial(jax.jit, static_argnums=(0, 4))
def by_hand(generator, params, batch, keys, steps):
    """The losses `[k, b]` of a rollout, step after step, with the gradient through everything."""
    of_fit, of_sample = rng.split_rows(keys, 2)
    fold = jax.vmap(jax.random.fold_in, (0, None))
    context, losses = batch.clip[:, :2], []
    for i in range(steps):
        here = batch.replace(clip=batch.clip[:, i : i + 3])
        losses.append(generator.fit(params, clean_example(generator, here, fold(of_fit, i), context=context)).loss)
        _, chunk = generator.step(params, context, fold(of_sample, i + 1), None)
        context = slide(context, chunk)
    return jnp.stack(losses)


@pytest.mark.parametrize("make", [NOG, WIG])
@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_one_step_is_teacher_forcing(kind, make, request, batch_of, keys_of):
    generator, batch, keys, policy = request.getfixturevalue(kind), batch_of(4, 3), keys_of(4), make(steps=1)
    assert isinstance(policy, HistoryPolicy) and policy.clip_frames(generator) == 3
    of_fit = jax.vmap(jax.random.fold_in, (0, None))(rng.split_rows(keys, 2)[0], 0)
    got, aux = loss(policy, generator, PARAMS, None, batch, keys)
    want, plain = loss(TeacherForcing(), generator, PARAMS, None, batch, of_fit)
    assert got == want
    kept = dataclasses.replace(plain, prediction=None)  # a rollout has many; none is banked
    jax.tree.map(np.testing.assert_array_equal, aux, kept)
    assert policy.calls(generator) == TeacherForcing().calls(generator)


@pytest.mark.parametrize("make", [NOG, WIG])
@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_the_loss_is_that_of_a_rollout_made_by_hand(kind, make, request, batch_of, keys_of):
    generator, batch, keys = request.getfixturevalue(kind), batch_of(4, 6), keys_of(4)
    got, aux = loss(make(steps=4), generator, PARAMS, None, batch, keys)
    want = by_hand(generator, PARAMS, batch, keys, 4)
    np.testing.assert_allclose(got, want.mean(), rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["loss_clean_sum"], want[0].sum(), rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["loss_recycled_sum"], want[1:].sum(), rtol=1e-5)
    assert aux.residual.shape[:2] == aux.sigma.shape == (4, 4) and not np.any(aux.clean)


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_with_gradient_it_is_the_slope_of_the_loss_and_without_it_is_not(kind, request, batch_of, keys_of):
    """Both compute the same loss; only one of them knows what its own frames do to it."""
    generator, batch, keys = request.getfixturevalue(kind), batch_of(4, 6), keys_of(4)
    value = lambda gain: np.mean(by_hand(generator, {"gain": jnp.float32(gain)}, batch, keys, 4))  # noqa: E731
    numeric = (value(0.92) - value(0.88)) / 0.04
    with_gradient, without = slope(WIG(steps=4), generator, batch, keys), slope(NOG(steps=4), generator, batch, keys)
    np.testing.assert_allclose(with_gradient, numeric, rtol=1e-2)
    assert abs(without - numeric) > 0.1 * abs(numeric)


def test_without_gradient_every_step_is_trained_on_a_history_that_is_given(predictor, batch_of, keys_of):
    """`d/dg mean (g x + .01 - y)^2` with the contexts held: 2 mean (residual x)."""
    batch, keys = batch_of(4, 6), keys_of(4)
    _, aux = loss(NOG(steps=4), predictor, PARAMS, None, batch, keys)
    made = np.asarray(aux.residual) + np.asarray(batch.clip[:, 2:])
    newest = np.concatenate([batch.clip[:, 1:2], made[:, :-1]], axis=1)
    want = np.mean(2.0 * np.asarray(aux.residual) * newest)
    np.testing.assert_allclose(slope(NOG(steps=4), predictor, batch, keys), want, rtol=1e-4)


@pytest.mark.parametrize("made, length", [(0, 1), (3, 1), (4, 2), (8, 3), (12, 4), (99, 4)])
def test_rollouts_lengthen_with_the_updates_that_were_made(made, length, predictor, batch_of, keys_of):
    """A rollout of full length is followed by another from the recorded clip."""
    batch, keys, policy = batch_of(4, 6), keys_of(4), WIG(steps=4, ramp=12)
    np.testing.assert_array_equal(policy.begin(predictor, batch, 2, jax.random.key(0)), [0, 0])
    got, aux = loss(policy, predictor, PARAMS, jnp.full(1, made, jnp.int32), batch, keys)
    want = []
    for start in range(0, 4, length):
        count = min(length, 4 - start)
        from_here = batch.replace(clip=batch.clip[:, start:])
        want.append(by_hand(predictor, PARAMS, from_here, keys, count))
    np.testing.assert_allclose(got, np.concatenate(want).mean(), rtol=1e-5)
    assert aux.metrics["rows_clean"] == 4 * len(want)
    assert np.all(aux.clean) == (length == 1)


def test_the_curriculum_counts_fine_updates(predictor, batch_of, keys_of):
    policy, memory = NOG(steps=2, ramp=3), jnp.zeros(1, jnp.int32)
    _, aux = loss(policy, predictor, PARAMS, memory, batch_of(2, 4), keys_of(2))
    for is_finite in (True, False, True):
        memory = policy.record(memory, aux, keys_of(2), jnp.int32(0), jnp.asarray(is_finite))
    np.testing.assert_array_equal(memory, [2])
    assert NOG(steps=2).begin(predictor, batch_of(2, 4), 1, jax.random.key(0)) is None


def test_a_step_that_goes_astray_does_no_harm_before_its_time(predictor, batch_of, keys_of):
    """At length 1 the gradient is that of teacher forcing, whatever a longer rollout would have become."""
    batch, keys = batch_of(4, 34), keys_of(4)
    policy = WIG(steps=32, ramp=10)
    gradient = slope(policy, predictor, batch, keys, jnp.zeros(1, jnp.int32), jnp.float32(1e3))
    x, y = batch.clip[:, 1:-1], batch.clip[:, 2:]
    np.testing.assert_allclose(gradient, np.mean(2.0 * (1e3 * x + 0.01 - y) * x), rtol=1e-4)


def test_calls(predictor, flow):
    """A predictor's own prediction is its next history; a flow samples that, with 4 calls."""
    assert NOG(steps=4).calls(predictor) == Calls(backward=4.0)
    assert WIG(steps=4).calls(predictor) == Calls(forward=3.0, backward=4.0)
    assert NOG(steps=4).calls(flow) == Calls(forward=12.0, backward=4.0)
    assert WIG(steps=4).calls(flow) == Calls(forward=3.0 + 12.0, backward=4.0 + 12.0)
    assert WIG(steps=4, rematerialise=False).calls(flow) == Calls(forward=0.0, backward=4.0 + 12.0)


def test_the_bill_is_what_xla_counts():
    """What rematerialisation repeats is left out: XLA for CPUs undoes it where steps are written out."""
    frame = (8, 8, 1)
    network = frame_unet(shape=frame, context_frames=2, chunk_frames=1, patch=4, width=32, levels=1)
    generator = Predictor(network=network, context_frames=2)
    shapes = jax.eval_shape(generator.init, jax.random.key(0))
    batch = jax.eval_shape(lambda: Batch(clip=jnp.zeros((1, 6, *frame)), domain=jnp.zeros(1, jnp.int32)))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(1), 1))
    forward = forward_flops(generator, shapes, batch)
    for policy in (NOG(steps=2), NOG(steps=4), WIG(steps=4, rematerialise=False)):
        slope = jax.grad(lambda params, *given, of=policy: of.loss(params, generator, None, *given)[0])
        charged = policy.calls(generator).forwards * forward
        assert charged == pytest.approx(flops_of(slope, shapes, batch, keys), rel=0.25)


def test_rematerialisation_repeats_every_later_step(predictor, batch_of, keys_of):
    """Read off the program before XLA sees it: the predictor's network adds .01, once a call."""
    batch, keys = batch_of(2, 5), keys_of(2)

    def additions(policy):
        program = jax.make_jaxpr(
            lambda g: jax.grad(lambda g: policy.loss({"gain": g}, predictor, None, batch, keys)[0])(g)
        )
        return str(program(jnp.float32(0.9))).count("0.009999")

    assert additions(WIG(steps=3)) == additions(WIG(steps=3, rematerialise=False)) + 2


def test_what_cannot_be_is_refused(predictor, batch_of, keys_of):
    with pytest.raises(ValueError, match="steps is 0"):
        NOG(steps=0)
    with pytest.raises(ValueError, match="ramp is -1"):
        NOG(steps=2, ramp=-1)
    with pytest.raises(ValueError, match="clips of 4 frames .* 4 unrolled steps: draw clips of 6"):
        loss(NOG(steps=4), predictor, PARAMS, None, batch_of(2, 4), keys_of(2))
