"""The nearest real window, moved onto a rollout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.errors.retrieved import Retrieved
from recycle_jax.errors.rollout.references import Gate
from recycle_jax.errors.rollout.registration import Registration
from tests.errors.rollout.test_registration import SIZE, blob, clip_of

pytestmark = pytest.mark.fast

CONTEXT, SPEED = 2, 0.3
OPEN = Gate(distance=10.0, mass=1e9)


def walk(x, y=12.0, frames=CONTEXT + 1, fading=0.0):
    clip = clip_of([blob(y, x + SPEED * i) for i in range(frames)])
    return ((1.0 - fading) * (clip + 1.0) - 1.0).reshape(frames, SIZE, SIZE, 1)


LIBRARY = jnp.stack([walk(x) for x in (6.0, 9.0, 12.0, 15.0)])
REFERENCE = Retrieved(windows=LIBRARY, registration=Registration(ridge=1e-4), gate=OPEN)


def refer(shown, reference=REFERENCE):
    return reference(shown[:, :CONTEXT], shown[:, CONTEXT:], None, None)


def away(a, b):
    return float(jnp.sqrt(jnp.square(a - b).mean()))


def test_a_window_of_the_library_is_answered_with_its_own_continuation():
    referred = refer(LIBRARY)
    np.testing.assert_allclose(referred.target, LIBRARY[:, CONTEXT:], atol=1e-5)
    np.testing.assert_allclose(referred.score, 0.0, atol=1e-8)


def test_what_lies_between_two_windows_is_continued_from_where_it_is():
    shown = walk(9.8)[None]
    nearest = LIBRARY[1:2, CONTEXT:]
    assert away(refer(shown).target, shown[:, CONTEXT:]) < 0.25 * away(nearest, shown[:, CONTEXT:])


def test_a_faded_window_is_continued_bright():
    assert away(refer(walk(12.0, fading=0.3)[None]).target, LIBRARY[2:3, CONTEXT:]) < 0.02


def test_what_is_like_nothing_real_is_not_kept():
    strict = dataclasses.replace(REFERENCE, gate=Gate(distance=0.01, mass=0.5))
    noise = jax.random.normal(jax.random.key(0), (1, CONTEXT + 1, SIZE, SIZE, 1))
    assert not refer(noise, strict).accept[0] and refer(LIBRARY[:1], strict).accept[0]


def test_windows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="windows have 3 frames, but context and chunk have 2 [+] 2"):
        REFERENCE(LIBRARY[:, :2], LIBRARY[:, :2], None, None)


def test_a_search_is_billed_by_the_size_of_the_library():
    assert REFERENCE.flops_per_row(CONTEXT) == 2.0 * 4 * CONTEXT * SIZE * SIZE
