"""How the error bank lies in memory.

Every array of the bank is `[S, slots, capacity, ...]`: logical shard, slot, cell. Two things here are not
plain:

*Narrow floats are kept as bits.* XLA's CPU compiler has no arithmetic for floats under 32 bits and widens
every operation on them, a scatter included: inserting one bfloat16 row would convert the *whole bank* to
float32 and back. As unsigned integers of the same width the scatter stays in place;
rows become floats again when they are drawn. `Bits` marks such a leaf.

*Bytes.* `quantise` keeps a bounded float in one byte, exactly zero at zero, so that no error stays no error.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from recycle_jax.typing import PyTree


@struct.dataclass(kw_only=True)
class BankState:
    """The contents of an error bank; `S` is the number of logical shards (in a `shard_map`, the local ones).

    Attributes:
        entries: pytree of `[S, slots, capacity, ...]` leaves in storage dtypes, sharded over `S`; floats
            under 32 bits are wrapped in `Bits`. Cells `[0, count)` are valid, the others are zero.
        norms: `[S, slots, capacity]` float32, sharded over `S`: squared norm of each entry's key (unit of the
            key, squared) where the replacement rule keeps one, else `[S, slots, 0]`.
        cursor: `[S, slots]` int32, sharded over `S`: the cell that the ring writes next.
        count: `[S, slots]` int32, sharded over `S`: the number of valid cells.
        inserted: `[S]` int32, sharded over `S`: entries ever written.
        empty_draws: `[S]` int32, sharded over `S`: draws that found nothing and fell back on clean context.
        seen: `[S, slots]` int32, sharded over `S`: rows ever offered where the replacement counts them, else None.
        thresholds: what the bank's adaptive threshold knows (`errors.bank.threshold`), sharded over `S`; None without
        one.
    """

    entries: PyTree
    norms: PyTree
    cursor: PyTree
    count: PyTree
    inserted: PyTree
    empty_draws: PyTree
    seen: PyTree = None
    thresholds: PyTree = None

    @property
    def capacity(self) -> int:
        """Cells of a slot of a shard."""
        return jax.tree.leaves(self.entries)[0].shape[2]


@struct.dataclass(kw_only=True)
class Bits:
    """A leaf of narrow floats, as the unsigned integers that hold their bits.

    Attributes:
        bits: `[...]` uint8 or uint16, sharded as the leaf it stands for.
        dtype: the float dtype that the bits encode (static).
    """

    bits: PyTree
    dtype: jnp.dtype = struct.field(pytree_node=False)


def is_stored_leaf(node: object) -> bool:
    """True for `Bits`: pass it as `is_leaf` to walk stored and plain trees side by side."""
    return isinstance(node, Bits)


def pack(leaf: Array) -> PyTree:
    """The leaf as it is stored: floats under 32 bits become `Bits`, anything else stays as it is."""
    if not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype.itemsize >= 4:
        return leaf
    bits = {1: jnp.uint8, 2: jnp.uint16}[leaf.dtype.itemsize]
    return Bits(bits=lax.bitcast_convert_type(leaf, bits), dtype=jnp.dtype(leaf.dtype))


def unpack(entries: PyTree) -> PyTree:
    """Undoes `pack` on every leaf of a tree (rows, a slot, or a whole bank)."""

    def leaf(node: Array | Bits) -> Array:
        return lax.bitcast_convert_type(node.bits, node.dtype) if isinstance(node, Bits) else node

    return jax.tree.map(leaf, entries, is_leaf=is_stored_leaf)


def to_storage(rows: PyTree, bank: PyTree) -> PyTree:
    """Rows cast and packed like the entries of a bank.

    Args:
        rows: pytree of `[S, b, ...]` leaves.
        bank: pytree of `[S, slots, capacity, ...]` stored leaves.

    Raises:
        ValueError: if the trees differ, or a row's shape is not that of the bank's entries.
        TypeError: if a leaf would change kind (float, integer, bool) on its way in; quantise it first.
    """
    like, structure = jax.tree.flatten(bank, is_leaf=is_stored_leaf)
    paths, given = jax.tree_util.tree_flatten_with_path(rows)
    if str(given) != str(structure):
        raise ValueError(f"entries of structure {given} do not fit a bank made for {structure}: build it for them")
    pairs = zip(paths, like, strict=True)
    stored = [_store(jax.tree_util.keystr(path), leaf, cells) for (path, leaf), cells in pairs]
    return jax.tree.unflatten(structure, stored)


def _store(name: str, leaf: Array, cells: Array | Bits) -> PyTree:
    shape = (cells.bits if isinstance(cells, Bits) else cells).shape[3:]
    if leaf.shape[2:] != shape:
        raise ValueError(
            f"an entry's {name or 'array'} has shape {leaf.shape[2:]}, but the bank keeps {shape}: "
            f"resize it, or build the bank for it"
        )
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    if not any(jnp.issubdtype(leaf.dtype, kind) and jnp.issubdtype(cells.dtype, kind) for kind in kinds):
        raise TypeError(
            f"an entry's {name or 'array'} is {leaf.dtype}, but the bank keeps {cells.dtype}: "
            f"convert it first (`quantise` turns floats into bytes)"
        )
    return pack(leaf.astype(cells.dtype))


def split_to_shards(rows: PyTree, shards: int) -> PyTree:
    """`[b, ...]` to `[S, b / S, ...]`, in order: row `i` belongs to shard `i // (b / S)`.

    Raises:
        ValueError: if leaves differ in `b`, or `b` is no multiple of the shards.
    """
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(rows)}
    if len(sizes) != 1:
        raise ValueError(f"leading axes {sorted(sizes)} differ: give every leaf one row per batch row")
    (size,) = sizes
    if size % shards:
        below = size // shards * shards
        nearest = f"{below} or {below + shards}" if below else f"{shards}"
        raise ValueError(f"{size} rows cannot be dealt to {shards} shards of the bank: use {nearest} rows")
    return jax.tree.map(lambda leaf: leaf.reshape((shards, size // shards) + leaf.shape[1:]), rows)


def quantise(values: Array, bound: float) -> Array:
    """Floats in [-bound, bound] as bytes, 127 steps a side and 128 at zero; what lies outside is clipped."""
    steps = jnp.round(values.astype(jnp.float32) * (127.0 / bound))
    return (jnp.clip(steps, -127.0, 127.0) + 128.0).astype(jnp.uint8)


def dequantise(values: Array, bound: float) -> Array:
    """Float32 values of `quantise`d bytes; off by at most `bound / 254` inside the bound."""
    return (values.astype(jnp.float32) - 128.0) * (bound / 127.0)
