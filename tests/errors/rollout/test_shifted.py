"""Phase correlation: any displacement of the whole frame, and nothing but displacement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recycle_jax.errors.rollout.references import Gate
from recycle_jax.errors.rollout.shifted import Shifted, displacement_between, shift
from tests.errors.rollout.test_registration import SIZE, blob, clip_of

pytestmark = pytest.mark.fast

CONTEXT = 2
OPEN = Gate(distance=10.0, mass=1e9)


def walk(start=8.0, fading=0.0):
    clip = clip_of([blob(12.0, start + 0.4 * i, size=2.0) for i in range(CONTEXT + 2)])
    return (1.0 - fading) * (clip + 1.0) - 1.0


def refer(shown, reanchor_rate=0.0, gate=OPEN):
    reference = Shifted(reanchor_rate=reanchor_rate, gate=gate)
    return reference(shown[:, :CONTEXT], shown[:, CONTEXT : CONTEXT + 1], walk(), None)


@settings(max_examples=25, deadline=None)
@given(dy=st.floats(-4, 4), dx=st.floats(-4, 4), size=st.sampled_from([1.5, 2.0, 3.0]))
def test_displacements_of_many_pixels_are_found_to_a_fifth_of_one(dy, dx, size):
    p = displacement_between(blob(12.0 + dy, 12.0 + dx, size), blob(12.0, 12.0, size), 0.01)
    np.testing.assert_allclose(p[0, 0], [dy, dx], atol=0.2)


@settings(max_examples=10, deadline=None)
@given(dy=st.floats(-3, 3), dx=st.floats(-3, 3))
def test_moving_neither_blurs_nor_bleaches(dy, dx):
    moved = shift(blob(12.0, 12.0, 2.0), jnp.asarray([dy, dx], jnp.float32)[None, None])
    np.testing.assert_allclose(moved, blob(12.0 + dy, 12.0 + dx, 2.0), atol=0.01)


def test_a_rollout_three_pixels_off_is_continued_from_where_it_is():
    far = walk(11.2)
    referred = refer(far)
    error = jnp.abs(referred.target - far[:, CONTEXT : CONTEXT + 1]).max()
    assert float(error) < 0.15 * float(jnp.abs(walk() - far).max())
    assert float(referred.score.max()) < 1e-3


def test_a_faded_rollout_is_continued_bright():
    np.testing.assert_allclose(
        refer(walk(10.0, fading=0.4)).target, walk(10.0)[:, CONTEXT : CONTEXT + 1], atol=0.15, err_msg="faded too"
    )


@pytest.mark.parametrize(("reanchor_rate", "off"), [(0.0, 2.0), (0.5, 1.0), (1.0, 0.0)])
def test_the_chain_takes_back_its_share(reanchor_rate, off):
    newest = refer(walk(10.0), reanchor_rate=reanchor_rate).go_on[:, -1:]
    p = displacement_between(newest, walk()[:, CONTEXT : CONTEXT + 1], 0.01)
    np.testing.assert_allclose(p[0, 0], [0.0, off], atol=0.2)


def test_empty_frames_are_not_moved():
    empty = jnp.full((1, 1, SIZE, SIZE, 1), -1.0)
    np.testing.assert_array_equal(displacement_between(empty, empty, 0.01), 0.0)


def test_two_things_that_part_are_refused():
    apart = jnp.maximum(blob(6.0, 6.0, 2.0), blob(18.0, 18.0, 2.0))
    together = jnp.maximum(blob(6.0, 9.0, 2.0), blob(18.0, 15.0, 2.0))
    window = lambda frame: jnp.concatenate([frame] * (CONTEXT + 2), axis=1)  # noqa: E731
    shown = window(together)
    referred = Shifted(gate=Gate(distance=0.01))(
        shown[:, :CONTEXT], shown[:, CONTEXT : CONTEXT + 1], window(apart), None
    )
    assert not referred.accept[0]


def test_it_compiles_for_a_batch():
    shown = jnp.concatenate([walk(9.0), walk(12.0)])
    call = jax.jit(
        lambda a: Shifted(gate=OPEN)(
            a[:, :CONTEXT], a[:, CONTEXT : CONTEXT + 1], jnp.tile(walk(), (2, 1, 1, 1, 1)), None
        )
    )
    assert call(shown).target.shape == (2, 1, SIZE, SIZE, 1)


@pytest.mark.parametrize(("values", "word"), [({"reanchor_rate": 1.5}, "reanchor_rate"), ({"floor": 0.0}, "floor")])
def test_bad_settings_are_refused(values, word):
    with pytest.raises(ValueError, match=word):
        Shifted(**values)
