"""Even rows: a displacement costs the same in all, whatever else a policy does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.comparison.baselines.relay import Relay
from recycle_jax.batch import Batch
from recycle_jax.histories.base import Calls, HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.gradient_normalised import GradientNormalizedLoss, mean_gradient_energy
from recycle_jax.histories.recipe import Recycling

PARAMS = {"gain": jnp.float32(0.9)}


def waves(amplitudes, frames=3, moved=0.0):
    """Sine waves of 16 pixels in frames of 16 x 16, one a row of the batch, moved to the right."""
    along = np.sin(2 * np.pi * (np.arange(16) - moved) / 16)
    picture = np.broadcast_to(along, (len(amplitudes), frames, 16, 16))[..., None]
    clip = jnp.asarray(np.reshape(amplitudes, (-1, 1, 1, 1, 1)) * picture, jnp.float32)
    return Batch(clip=clip, domain=jnp.zeros(len(amplitudes), jnp.int32))


@settings(max_examples=20, deadline=None)
@given(amplitude=st.floats(0.55, 1.0), moved=st.floats(0.05, 0.3))
def test_a_displacement_costs_the_same_in_all_rows(amplitude, moved):
    amplitudes = [amplitude, 1.0]
    here, there = waves(amplitudes).clip[:, -1:], waves(amplitudes, moved=moved).clip[:, -1:]
    cost = jnp.mean(jnp.square(here - there), axis=(1, 2, 3, 4))
    even = GradientNormalizedLoss(inner=TeacherForcing(), reference_energy=mean_gradient_energy(waves([1.0])))
    weighed = np.asarray(even.weight(here) * cost)
    assert cost[0] < 0.999 * cost[1] or amplitude > 0.999
    np.testing.assert_allclose(weighed[0], weighed[1], rtol=1e-4)
    np.testing.assert_allclose(even.weight(here)[1], 1.0, rtol=1e-5)


def test_weights_stay_within_their_limits_and_a_blank_row_is_no_exception():
    even = GradientNormalizedLoss(inner=TeacherForcing(), reference_energy=mean_gradient_energy(waves([0.5])), most=3.0)
    weights = np.asarray(even.weight(waves([0.0, 0.01, 0.5, 1.0]).clip))
    np.testing.assert_allclose(weights, [3.0, 3.0, 1.0, 1.0 / 3.0], rtol=1e-5)


def test_the_rest_of_a_policy_is_its_own(predictor, keys_of):
    batch = waves([0.2, 0.4, 0.6, 0.8])
    inner, keys = TeacherForcing(), keys_of(4)
    even = GradientNormalizedLoss(inner=inner, reference_energy=mean_gradient_energy(batch))
    assert isinstance(even, HistoryPolicy)
    assert even.calls(predictor) == Calls() and even.clip_frames(predictor) == 3
    plain = inner.examples(PARAMS, predictor, None, batch, keys)
    drawn = even.examples(PARAMS, predictor, None, batch, keys)
    np.testing.assert_array_equal(drawn.example.context, plain.example.context)
    np.testing.assert_array_equal(drawn.clean, plain.clean)
    loss, aux = even.loss(PARAMS, predictor, None, batch, keys)
    each = predictor.fit(PARAMS, plain.example).loss
    np.testing.assert_allclose(loss, jnp.mean(even.weight(plain.example.x0) * each), rtol=1e-6)
    assert float(loss) != pytest.approx(float(jnp.mean(each)), rel=1e-3)
    assert even.record(None, aux, keys, jnp.int32(0), jnp.bool_(True)) is None


def test_what_a_policy_remembers_is_remembered(predictor, keys_of):
    batch, inner = waves([0.2, 0.4, 0.6, 0.8], frames=5), Relay(max_age=2, capacity=4)
    even, key, keys = GradientNormalizedLoss(inner=inner, reference_energy=1.0), jax.random.key(1), keys_of(4)
    memory = even.begin(predictor, batch, 1, key)
    after = []
    for policy in (even, inner):
        _, aux = policy.loss(PARAMS, predictor, memory, batch, keys)
        after.append(policy.record(memory, aux, keys, jnp.int32(0), jnp.bool_(True)))
    jax.tree.map(np.testing.assert_array_equal, *after)


def test_recycling_asks_real_clips_what_is_usual(predictor):
    real, even = waves([0.5, 0.5]), Recycling(gradient_normalized=True)
    rows = even.policy(even.bank(), predictor)
    policy = even.weighed(rows, real)
    assert (
        isinstance(policy, GradientNormalizedLoss)
        and policy.reference_energy == pytest.approx(mean_gradient_energy(real))
        and policy.inner is rows
    )
    assert Recycling(gradient_normalized=False).weighed(rows, real) is rows


@pytest.mark.parametrize(("reference_energy", "most", "match"), [(0.0, 4.0, "one colour"), (1.0, 0.5, "at least 1")])
def test_limits_that_make_no_sense_are_refused(reference_energy, most, match):
    with pytest.raises(ValueError, match=match):
        GradientNormalizedLoss(inner=TeacherForcing(), reference_energy=reference_energy, most=most)
