"""What each reference answers, and which cases its gate lets through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.errors.rollout.references import Continued, Gate, Recorded, brightness

pytestmark = pytest.mark.fast

KEYS = jax.random.split(jax.random.key(0), 3)


def flat(values, frames):
    """Constant frames `[b, frames, 4, 4, 1]`."""
    values = jnp.asarray(values, jnp.float32)[:, None, None, None, None]
    return jnp.broadcast_to(values, (values.shape[0], frames, 4, 4, 1))


def test_the_gate_refuses_what_is_far_and_what_lost_mass():
    clean = flat([0.0, 0.0, -0.8], 2)  # brightness .5, .5, .1
    context = flat([0.1, 0.3, -0.7], 2)  # near; too far (.09); near, but half as bright again
    accept, score = Gate(distance=0.05, mass=0.25)(context, clean)
    np.testing.assert_allclose(score, [0.01, 0.09, 0.01], rtol=1e-5)
    np.testing.assert_array_equal(accept, [True, False, False])


def test_a_gate_refuses_nan():
    accept, _ = Gate()(flat([jnp.nan, jnp.inf, 0.0], 1), flat([0.0, 0.0, 0.0], 1))
    np.testing.assert_array_equal(accept, [False, False, True])


def test_brightness_is_zero_on_black_and_one_on_white():
    np.testing.assert_allclose(brightness(flat([-1.0, 0.0, 1.0], 2)), [0.0, 0.5, 1.0])


def test_recorded_answers_with_the_clip():
    recorded = jnp.concatenate([flat([0.0, 0.0, 0.0], 2), flat([0.5, 0.6, 0.7], 1)], axis=1)
    referred = Recorded()(flat([0.1, 0.0, 0.9], 2), flat([9.0, 9.0, 9.0], 1), recorded, KEYS)
    np.testing.assert_array_equal(referred.target, recorded[:, 2:])
    np.testing.assert_array_equal(referred.clean_context, recorded[:, :2])
    np.testing.assert_array_equal(referred.accept, [True, True, False])
    assert Recorded().reads_clip


def test_continued_needs_a_confident_decoder():
    def decode_and_run(context, keys):
        return context, context[:, -1:] + 0.1, jnp.asarray([0.9, 0.4, 0.5])

    referred = Continued(decode_and_run=decode_and_run)(flat([0.0, 0.1, 0.2], 2), None, None, KEYS)
    np.testing.assert_array_equal(referred.accept, [True, False, True])
    np.testing.assert_allclose(referred.target[:, 0, 0, 0, 0], [0.1, 0.2, 0.3], rtol=1e-6)
