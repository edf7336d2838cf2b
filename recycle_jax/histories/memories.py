"""What a mixture remembers: the bank that its parts share, and what single parts remember besides.

Harvests fill the bank; a part that has a memory of its own (`histories.relay`, a curriculum) keeps that apart from it.
"""

import dataclasses
from typing import Any

from flax import struct

from recycle_jax.typing import PyTree


@struct.dataclass(kw_only=True)
class Memories:
    """One memory a part, and the bank for those that have none.

    Attributes:
        own: what each part remembers, None for those that remember nothing; leaves `[shards, ...]`.
        bank: what the others read and write, or None.
    """

    own: tuple[PyTree, ...]
    bank: PyTree = None

    def of(self, part: int) -> PyTree:
        """What part number `part` is given."""
        return self.bank if self.own[part] is None else self.own[part]

    def after(self, part: int, memory: PyTree) -> "Memories":
        """These, once part number `part` has returned its next memory."""
        if self.own[part] is None:
            return dataclasses.replace(self, bank=memory)
        own = (*self.own[:part], memory, *self.own[part + 1 :])
        return dataclasses.replace(self, own=own)


def bank_of(memory: PyTree) -> Any:
    """The bank in a policy's memory, which is all of it where no part has a memory of its own."""
    return memory.bank if isinstance(memory, Memories) else memory


def entries_of(memory: PyTree) -> PyTree:
    """All that a policy holds on the devices to draw from: the bank's entries, and the memories beside it."""
    return (memory.bank.entries, memory.own) if isinstance(memory, Memories) else memory.entries


def with_bank(memory: PyTree, bank: PyTree) -> PyTree:
    """The memory with another bank."""
    return dataclasses.replace(memory, bank=bank) if isinstance(memory, Memories) else bank
