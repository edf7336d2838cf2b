"""How many entries a bank may hold: bytes are counted and checked before anything is allocated.

Per device a bank takes `shards / devices * slots * capacity` entries. Counted twice: where a program cannot
write its donated argument in place, the compiler makes a second copy for as long as the program runs.
"""

import dataclasses
import math
import os
from pathlib import Path

import jax
from jax.sharding import Mesh

from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.storage import BankState
from recycle_jax.sharding import ROLES, named, require_multiples
from recycle_jax.typing import PyTree

MOST_SHARDS = 8
"""Logical shards of a bank by default: 1, 2, 4 and 8 devices draw the same from it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """The memory that a bank may take.

    Attributes:
        bytes_per_device: what each device has to spare.
        copies: copies of the bank that must fit at once: 2 allows for a donation that fails, 1 for none.
    """

    bytes_per_device: int
    copies: int = 2

    def __post_init__(self) -> None:
        if self.bytes_per_device < 0 or self.copies < 1:
            raise ValueError(f"{self}, but a budget has 0 bytes or more, for at least 1 copy: raise it")


def available(mesh: Mesh, share: float = 0.8) -> Budget:
    """A share of what the fullest device of the mesh has free now; on CPUs, of the machine's RAM."""
    here = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    return Budget(bytes_per_device=int(share * min(_free_bytes(device, len(here)) for device in here)))


def check(bank: ErrorBank, entry: PyTree, mesh: Mesh, budget: Budget) -> None:
    """Checks that a bank can be split over the mesh and fits its memory.

    Raises:
        ValueError: if the devices do not divide the shards.
        MemoryError: if the bank does not fit; it names the capacity that would.
    """
    _check_state(jax.eval_shape(bank.init, entry), mesh, budget)


def check_memory(memory: PyTree, mesh: Mesh, budget: Budget | None = None) -> None:
    """The same for every bank in what a policy is to remember, each beside all the rest.

    Args:
        memory: shapes of leaves `[shards, ...]`, as `jax.eval_shape` of a policy's `begin` gives them.
        mesh: where it is to lie.
        budget: None for what is `available`.

    Raises:
        ValueError: if the devices do not divide a bank's shards.
        MemoryError: if a bank does not fit; it names the capacity that would.
    """
    banks = [leaf for leaf in jax.tree.leaves(memory, is_leaf=_is_bank) if _is_bank(leaf)]
    if not banks:
        return
    whole = available(mesh) if budget is None else budget
    for bank in banks:
        beside = (_bytes(memory) - _bytes(bank)) // mesh.size * whole.copies
        left = max(whole.bytes_per_device - beside, 0)
        _check_state(bank, mesh, dataclasses.replace(whole, bytes_per_device=left))


def in_a_shard(capacity: int, shards: int) -> int:
    """What each shard keeps of a capacity that is meant for all of them.

    Raises:
        ValueError: if they cannot share it evenly.
    """
    if capacity % shards:
        below = capacity // shards * shards
        nearest = f"{below} or {below + shards}" if below else f"{shards}"
        raise ValueError(f"capacity {capacity} is not divisible by {shards} shards: use {nearest}")
    return capacity // shards


def logical_shards(devices: int, *sizes: int) -> int:
    """Shards of a bank where nobody asked for a number: a multiple of the devices, so that draws do not depend on them.

    Args:
        devices: how many.
        sizes: rows, chains and entries that the shards share: 8 shards, or fewer where these are no multiples of 8.

    Returns:
        1, 2, 4 or 8, raised to a multiple of `devices`.
    """
    return math.lcm(devices, math.gcd(MOST_SHARDS, *sizes))


def allocate(bank: ErrorBank, entry: PyTree, mesh: Mesh, budget: Budget | None = None) -> BankState:
    """An empty bank on a mesh, made there after `check`; without a budget, by what is `available`."""
    check(bank, entry, mesh, available(mesh) if budget is None else budget)
    return jax.jit(lambda: bank.init(entry), out_shardings=named(mesh, ROLES.bank))()


def _is_bank(node: object) -> bool:
    return isinstance(node, BankState)


def _check_state(state: BankState, mesh: Mesh, budget: Budget) -> None:
    """`check` of a bank's shapes."""
    shards, slots = state.count.shape
    require_multiples({"shards": (shards, mesh.size)}, mesh)
    need = _bytes(state) // mesh.size * budget.copies
    if need > budget.bytes_per_device:
        fits = _largest_capacity(state, mesh, budget)
        of = " a slot of a shard" if shards * slots > 1 else ""
        remedy = f"use capacity={fits}{of}" if fits else "use fewer slots, smaller entries or a narrower dtype"
        raise MemoryError(
            f"capacity={state.capacity} needs {_text(need)} on each of {mesh.size} devices ({budget.copies} "
            f"copies of {shards // mesh.size} shards x {slots} slots x {state.capacity} entries of "
            f"{_text(_entry_bytes(state))}), but {_text(budget.bytes_per_device)} are free: {remedy}"
        )


def _largest_capacity(state: BankState, mesh: Mesh, budget: Budget) -> int:
    layer = math.prod(state.count.shape) * _entry_bytes(state)  # what one more entry a slot takes
    fixed = _bytes(state) - state.capacity * layer
    room = budget.bytes_per_device // budget.copies * mesh.size - fixed
    return max(room // layer, 0)


def _entry_bytes(state: BankState) -> int:
    return _bytes((state.entries, state.norms)) // (math.prod(state.count.shape) * state.capacity)


def _free_bytes(device: jax.Device, here: int) -> int:
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    # A CPU reports nothing; all CPU devices of this process live in the same RAM.
    return _free_ram() // here


def _free_ram(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of RAM that this process may still take: the machine's, or what its container leaves."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if proc.exists():
        lines = dict(line.split(":", 1) for line in proc.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else free
    limit = cgroup / "memory.max"
    if not limit.exists() or limit.read_text().strip() == "max":
        return free
    used = int((cgroup / "memory.current").read_text())
    # Cached files count as used memory, but give way.
    stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    return min(free, max(int(limit.read_text()) - used + int(stat.get("inactive_file", 0)), 0))


def _bytes(tree: PyTree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _text(size: int) -> str:
    """A number of bytes for people."""
    power = min(max(size.bit_length() - 1, 0) // 10, 4)
    return f"{size / 1024**power:.4g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
