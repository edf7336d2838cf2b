"""Placement and per-row keys on one device; `devices8` has the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from recycle_jax import rng, sharding
from recycle_jax.sharding import ROLES

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(jax.devices()[:1])


def test_the_mesh_has_one_axis_of_a_type_chosen_explicitly(mesh):
    assert mesh.axis_types == (AxisType.Auto,)
    assert mesh.size == 1


def test_the_one_path_serves_one_device(mesh):
    def loss(weight, rows):
        return jnp.mean((rows * weight) ** 2)

    def step(weight, rows):
        return sharding.mean_over_data(jax.grad(loss)(weight, rows)), sharding.first_row(rows.shape[0]) + jnp.arange(4)

    sharded = jax.jit(sharding.shard_over_data(step, mesh, (ROLES.params, ROLES.rows), (ROLES.params, ROLES.rows)))
    rows = sharding.place(jnp.arange(4.0), mesh, ROLES.rows)
    grad, numbered = sharded(sharding.place(jnp.float32(3.0), mesh, ROLES.params), rows)
    np.testing.assert_allclose(grad, jax.grad(loss)(jnp.float32(3.0), rows))
    np.testing.assert_array_equal(numbered, np.arange(4))


def test_settings_are_named_with_the_nearest_values_that_fit(mesh):
    sharding.require_multiples({"chains": (8, 4)}, mesh)
    said = "rows is 6, must be a multiple of 4: use 4 or 8; chains is 3, must be a multiple of 4: use 4"
    with pytest.raises(ValueError, match=said):
        sharding.require_multiples({"rows": (6, 4), "chains": (3, 4), "capacity": (8, 4)}, mesh)


def test_what_is_split_must_be_rows_and_stay_rows(mesh):
    with pytest.raises(ValueError, match="has no axis of rows"):
        sharding.split_over_devices(lambda params, rows, key, first: rows.mean(), mesh)({}, jnp.ones(3), KEY)
    with pytest.raises(ValueError, match=r"leading axes of \[2, 3\]"):
        sharding.split_over_devices(lambda *given: given[1], mesh)({}, (jnp.ones(2), jnp.ones(3)), KEY)


def test_a_copy_shares_no_memory_and_keys_are_copied_too(mesh):
    rows, key = sharding.place((jnp.ones(4), KEY), mesh, ROLES.params)
    again, other = sharding.place((rows, key), mesh, ROLES.params, copy=True)
    jax.jit(lambda *given: given, donate_argnums=(0, 1))(again, other)
    again.delete()
    assert rows.sum() == 4.0 and jax.random.uniform(key) < 1.0


def test_row_keys_do_not_depend_on_where_a_row_is():
    key = jax.random.key(3)
    whole = jax.random.key_data(rng.row_keys(key, 8))
    half = jax.random.key_data(rng.row_keys(key, 4, first=jnp.int32(4)))
    np.testing.assert_array_equal(whole[4:], half)
    assert len(np.unique(whole, axis=0)) == 8
