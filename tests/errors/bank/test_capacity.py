"""Bytes are counted before they are spent, and a bank that does not fit is told what would."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from recycle_jax import sharding
from recycle_jax.errors.bank import capacity
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.replacement import Nearest

ENTRY = {
    "residual": jax.ShapeDtypeStruct((4, 8), jnp.bfloat16),
    "sigma": jax.ShapeDtypeStruct((), jnp.float32),
}
BANK = ErrorBank(shards=2, slots=3, capacity=10)


def residual_of(entry):
    return entry["residual"]


TRACKED = dataclasses.replace(BANK, replacement=Nearest(key=residual_of))


def bytes_of(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(jax.devices()[:1])


@pytest.mark.parametrize(("bank", "entry"), [(BANK, 68), (TRACKED, 72)])
def test_bytes_are_those_of_the_allocated_arrays(bank, entry, mesh):
    """A budget of all arrays twice is enough, and one byte less is not."""
    state = capacity.allocate(bank, ENTRY, mesh)
    assert not any(leaf.any() for leaf in jax.tree.leaves(state))
    whole = capacity.Budget(bytes_per_device=2 * bytes_of(state))
    capacity.check(bank, ENTRY, mesh, whole)
    with pytest.raises(MemoryError, match=f"10 entries of {entry} bytes.*use capacity=9"):
        capacity.check(bank, ENTRY, mesh, dataclasses.replace(whole, bytes_per_device=whole.bytes_per_device - 1))


def test_the_capacity_that_the_error_names_fits_and_one_more_does_not(mesh):
    budget = capacity.Budget(bytes_per_device=7777)
    with pytest.raises(MemoryError, match=r"capacity=10 needs .*2 copies.* are free: use capacity=9") as error:
        capacity.check(BANK, ENTRY, mesh, budget)
    assert "7.595 KiB" in str(error.value)
    capacity.check(dataclasses.replace(BANK, capacity=9), ENTRY, mesh, budget)
    capacity.check(BANK, ENTRY, mesh, dataclasses.replace(budget, copies=1))


def test_nothing_is_allocated_when_it_does_not_fit(mesh):
    huge = dataclasses.replace(BANK, capacity=2**28)
    with pytest.raises(MemoryError, match="use capacity="):
        capacity.allocate(huge, ENTRY, mesh)
    with pytest.raises(MemoryError, match="fewer slots"):
        capacity.allocate(BANK, ENTRY, mesh, capacity.Budget(bytes_per_device=100))


def test_banks_in_a_policys_memory_are_checked_beside_each_other(mesh):
    """Two banks, and room for one of them and another of seven in place of ten entries a slot."""
    shapes = jax.eval_shape(lambda: BANK.init(ENTRY))
    alone = capacity.Budget(bytes_per_device=2 * bytes_of(shapes))
    capacity.check_memory(shapes, mesh, alone)
    capacity.check_memory({"updates": jax.ShapeDtypeStruct((2,), jnp.int32)}, mesh, capacity.Budget(bytes_per_device=0))
    room = alone.bytes_per_device * 2 - 2 * 3 * 6 * 68
    with pytest.raises(MemoryError, match=r"capacity=10 needs .* are free: use capacity=7 a slot of a shard"):
        capacity.check_memory((None, {"a": shapes, "b": shapes}), mesh, capacity.Budget(bytes_per_device=room))
    smaller = jax.eval_shape(lambda: dataclasses.replace(BANK, capacity=7).init(ENTRY))
    capacity.check_memory((None, {"a": shapes, "b": smaller}), mesh, capacity.Budget(bytes_per_device=room))


def test_what_is_available_is_some_of_the_ram(mesh):
    budget = capacity.available(mesh, share=0.5)
    assert 0 < budget.bytes_per_device < 2**50
    assert budget.copies == 2


def test_a_container_limits_the_ram(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:  4000 kB\n")
    free = capacity._free_ram(tmp_path / "meminfo", tmp_path)
    assert free == 4000 * 1024
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    (tmp_path / "memory.stat").write_text("anon 7\ninactive_file 500\n")
    assert capacity._free_ram(tmp_path / "meminfo", tmp_path) == 2000500
    (tmp_path / "memory.max").write_text("max\n")
    assert capacity._free_ram(tmp_path / "meminfo", tmp_path) == 4000 * 1024


def test_an_impossible_budget_is_refused():
    with pytest.raises(ValueError, match="budget"):
        capacity.Budget(bytes_per_device=-1)
