"""Gates are coins of the row's own key, and a closed gate lets nothing through, not even an Inf."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from recycle_jax.errors.one_step.inject import Errors, Gates, GateSample, inject
from recycle_jax.generators.base import Example

pytestmark = pytest.mark.fast

ROWS = 4000
draw = jax.jit(Gates.draw, static_argnums=0)


def row_keys(seed, rows=ROWS):
    return jax.random.split(jax.random.key(seed), rows)


def example_of(rows):
    frames = jnp.ones((rows, 1, 2, 2, 1))
    return Example(
        context=jnp.ones((rows, 2, 2, 2, 1)),
        x0=frames,
        x_injected=frames,
        noise_injected=2.0 * frames,
        sigma=jnp.ones((rows, 1)),
        level=jnp.zeros(rows),
        weight=jnp.ones(rows),
    )


def assert_rate(flags, probability):
    low, high = scipy.stats.binom.interval(1 - 1e-6, ROWS, probability)
    opened = int(np.asarray(flags).sum())
    assert low <= opened <= high, f"{opened} of {ROWS} open, expected {probability}"


@pytest.mark.parametrize("seed", range(3))
def test_gates_open_as_often_as_they_should(seed):
    gates = Gates(data=0.9, noise=0.01, context=0.7, clean=0.2)
    drawn = draw(gates, row_keys(seed))
    assert_rate(drawn.clean, 0.2)
    assert_rate(drawn.data, 0.8 * 0.9)
    assert_rate(drawn.noise, 0.8 * 0.01)
    assert_rate(drawn.context, 0.8 * 0.7)
    assert_rate(drawn.data & drawn.context, 0.8 * 0.9 * 0.7)  # independent but for the clean coin
    assert not np.any(drawn.any & drawn.clean)


@pytest.mark.parametrize("clean", [0.0, 1.0])
def test_certain_gates_are_certain(clean):
    drawn = draw(Gates(data=1.0, noise=0.0, context=1.0, clean=clean), row_keys(0, 50))
    assert np.all(drawn.clean == bool(clean)) and np.all(drawn.data != bool(clean)) and not np.any(drawn.noise)


def test_a_row_draws_its_gates_whatever_its_neighbours():
    keys = row_keys(3, 8)
    together, alone = draw(Gates(), keys), draw(Gates(), keys[5:])
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[5:], y), together, alone)


@pytest.mark.parametrize("bad", [{"data": 1.5}, {"clean": -0.1}, {"noise": float("nan")}])
def test_a_probability_is_one(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=rf"{name}=.*\[0, 1\]"):
        Gates(**bad)


@pytest.mark.parametrize("poison", [np.inf, np.nan])
def test_a_closed_gate_lets_nothing_through(poison):
    """Even where the error is not finite, and in the gradient too: 0 * Inf would be NaN."""
    example = example_of(3)
    error = jnp.asarray([poison, 0.5, poison])[:, None, None, None, None]
    gates = GateSample(
        data=jnp.asarray([False, True, False]),
        noise=jnp.asarray([False, False, False]),
        context=jnp.asarray([False, True, False]),
        clean=jnp.asarray([True, False, True]),
    )

    def injected(scale):
        errors = Errors(
            data=jnp.broadcast_to(error, example.x0.shape),
            noise=jnp.broadcast_to(error, example.x0.shape),
            context=jnp.broadcast_to(error, example.context.shape),
        )
        scaled = jax.tree.map(lambda leaf: scale * leaf, example)
        return inject(scaled, errors, gates)

    out = injected(1.0)
    np.testing.assert_array_equal(out.x_injected[:, 0, 0, 0, 0], [1.0, 1.5, 1.0])
    np.testing.assert_array_equal(out.context[:, 1, 0, 0, 0], [1.0, 1.5, 1.0])
    np.testing.assert_array_equal(out.noise_injected, example.noise_injected)
    np.testing.assert_array_equal(out.x0, example.x0)
    assert np.isfinite(jax.grad(lambda scale: injected(scale).context.sum())(1.0))


def test_no_error_is_no_change():
    example = example_of(2)
    yes = jnp.ones(2, bool)
    gates = GateSample(data=yes, noise=yes, context=yes, clean=~yes)
    out = inject(example, Errors(data=None, noise=None, context=None), gates)
    assert jax.tree.all(jax.tree.map(lambda a, b: a is b, out, example))
