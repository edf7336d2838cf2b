"""Writing a file so that a crash, a full disk or a missing permission loses nothing.

A local file is written under a temporary name in the same directory and then renamed over the old one: a reader
sees the old file or the new one, never half of either. A file in a bucket is written whole on the local disk and then
uploaded as one object, which replaces the old one when the upload ends.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recycle_jax.io.paths import as_path, is_remote

REMEDIES = {
    errno.ENOSPC: "free some space or choose another directory",
    errno.EDQUOT: "free some of your quota or choose another directory",
    errno.EFBIG: "choose a directory on a file system that takes larger files",
    errno.EACCES: "choose a directory that you may write to",
    errno.EPERM: "choose a directory that you may write to",
    errno.EROFS: "choose a directory that is not mounted read-only",
    errno.ENOTDIR: "a file stands where a directory is needed: choose another directory",
    errno.EEXIST: "a file stands where a directory is needed: choose another directory",
}


@contextlib.contextmanager
def explaining(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns a failed write into an OSError that names the path, the reason and the remedy.

    Raises:
        OSError: with the same `errno`, for the reasons in `REMEDIES`; any other error passes unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        reason = os.strerror(error.errno)
        message = f"cannot write {os.fspath(path)}: {reason}; {REMEDIES[error.errno]} (what was there is kept)"
        raise OSError(error.errno, message) from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary local name whose file takes the place of `path` when the block ends well.

    When the block raises, the temporary file is removed and an older `path` is untouched.

    Raises:
        OSError: unwritable or full disk, with the remedy.
    """
    target = as_path(path)
    if is_remote(target):
        with _uploading(target) as temporary:
            yield temporary
        return
    # Short whatever the name's length, and absolute: video libraries read `10:15.mp4` as an address.
    stem = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]
    temporary = target.absolute().with_name(f".{stem}.{os.getpid()}.tmp{target.suffix[:16]}")
    with explaining(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _flush_to_disk(temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Writes `data` to `path` in one step; see `replacing` for what it raises."""
    target = as_path(path)
    with replacing(target) as temporary:
        temporary.write_bytes(data)
    return target


@contextlib.contextmanager
def _uploading(target: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="recycle_jax_") as folder:
        temporary = Path(folder) / f"upload{target.suffix[:16]}"
        yield temporary
        with temporary.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 2**20)


def _flush_to_disk(path: Path) -> None:
    # Without it a power cut after the rename could leave an empty file under the final name.
    with open(path, "rb") as file:
        os.fsync(file.fileno())
