"""The plain detector: a signed map, its mean square, and a band for each domain."""

import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.errors.detect import SquaredDetector

pytestmark = pytest.mark.fast


def test_errors_are_kept_inside_their_domains_band():
    reference = jnp.zeros((4, 2, 3, 3, 1))
    generated = reference + jnp.asarray([0.1, -0.3, -0.3, 0.1])[:, None, None, None, None]
    detector = SquaredDetector(bands=((0.0, 0.05), (0.05, 0.5)))
    found = detector(generated, reference, jnp.asarray([0, 0, 1, 7]))  # a label past the last uses the last
    np.testing.assert_allclose(found.score, [0.01, 0.09, 0.09, 0.01], rtol=1e-5)
    np.testing.assert_array_equal(found.keep, [True, False, True, False])
    np.testing.assert_array_equal(found.error, generated)


@pytest.mark.parametrize("bands", [(), ((0.1, 0.1),), ((-1.0, 1.0),)])
def test_bands_rise(bands):
    with pytest.raises(ValueError, match="0 <= least < most"):
        SquaredDetector(bands=bands)
