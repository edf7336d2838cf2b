"""What identifies a folder of data: a hash that other content changes and another place does not."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

HEAD = 2**18
"""Bytes read from each end of a file: enough to tell recordings apart, cheap for terabytes of them."""


def folder_hash(folder: str | os.PathLike[str], files: Iterable[str | os.PathLike[str]] | None = None) -> str:
    """Returns a short hash of a folder's files: their names below it, sizes, first and last 256 KiB.

    Times, owners and the folder's own place do not count. A file larger than 512 KiB that was changed in its middle
    only, at the same length, is not noticed.

    Args:
        folder: that holds the data.
        files: those that count, all under `folder`; by default every file whose name, and whose directories' names
            below `folder`, do not begin with a dot.

    Raises:
        ValueError: no such folder, or no file that counts.
    """
    root = Path(folder).expanduser().absolute()
    counted = _visible(root) if files is None else [Path(file).absolute() for file in files]
    if not counted:
        raise ValueError(f"{root} is not a folder with files in it; name the folder that holds the data")
    total = hashlib.sha256()
    # Names go in as the bytes that the file system keeps: they need not be text.
    for name, file in sorted((os.fsencode(file.relative_to(root).as_posix()), file) for file in counted):
        total.update(hashlib.sha256(name).digest() + _content(file))
    return total.hexdigest()[:16]


def _visible(root: Path) -> list[Path]:
    found, seen = [], set()
    for directory, folders, names in os.walk(root, followlinks=True):
        if (place := os.path.realpath(directory)) in seen:  # links may lead round in a circle
            folders.clear()
            continue
        seen.add(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(directory, name) for name in names if not name.startswith(".")]
    return found


def _content(file: Path) -> bytes:
    size = file.stat().st_size
    part = hashlib.sha256(str(size).encode())
    with file.open("rb") as stream:
        part.update(stream.read(HEAD))
        stream.seek(max(size - HEAD, HEAD))
        part.update(stream.read(HEAD))
    return part.digest()
