"""One writer for a directory: two runs started by mistake in one place must not replace each other's checkpoints.

The writer's name, host, process and start, stands in the directory's `.lock` while it writes. Where the file system
can lock files (`flock`), the system itself ends a lock with the process that held it, however that died; where it
cannot, a process of this host that no longer lives has lost its lock. Whether a process of another host lives cannot
be seen from here (buckets, some network drives): there the newest writer takes over, so that a preempted run goes on
elsewhere without help, and the older one, should it live, is stopped by its next `require_mine`.
"""

import atexit
import contextlib
import dataclasses
import datetime
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from recycle_jax.io.files import explaining, write_bytes
from recycle_jax.io.paths import as_path, is_remote, make_directory

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"
POLL_SECONDS = 2.0
_pause = time.sleep


class InUse(RuntimeError):
    """Another process writes to the directory; the message names it and says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Owner:
    """Who writes to a directory.

    Attributes:
        host: name of its machine.
        pid: its process there.
        started: when it took the lock, ISO 8601 with the time zone.
        token: tells two locks of one process number apart.
    """

    host: str
    pid: int
    started: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, which began at {self.started}"


@dataclasses.dataclass(kw_only=True)
class _Lock:
    owner: Owner
    file: int | None
    holders: int


# What this process holds. A lock belongs to a process, so its bookkeeping does too.
_HELD: dict[str, _Lock] = {}


@contextlib.contextmanager
def hold(directory: str | os.PathLike[str], *, wait: bool = False) -> Iterator[None]:
    """Makes this process the only writer of `directory` for the block; again inside itself it costs nothing.

    Args:
        directory: made where it is missing.
        wait: for the other process to end its work, with a message; by default that is an error.

    Raises:
        InUse: another process writes there.
        OSError: unwritable, with the remedy.
    """
    key = claim(directory, wait=wait)
    try:
        yield
    finally:
        _let_go(key)


def claim(directory: str | os.PathLike[str], *, wait: bool = False) -> str:
    """Takes the lock until this process ends; arguments and errors as of `hold`."""
    root = _whole(directory)
    key = os.fspath(root)
    if (lock := _HELD.get(key)) is None:
        lock = _HELD[key] = _acquired(root, wait)
    lock.holders += 1
    return key


def require_mine(directory: str | os.PathLike[str]) -> None:
    """Claims `directory` where this process holds neither it nor one above; else checks that nobody has taken it over.

    Raises:
        InUse: another process writes there.
        OSError: unwritable, with the remedy.
    """
    root = _whole(directory)
    held = next((path for path in (root, *root.parents) if os.fspath(path) in _HELD), None)
    if held is None:
        claim(root)
        return
    owner = _read(held / LOCK_FILE)
    if owner is not None and owner.token != _HELD[os.fspath(held)].owner.token:
        raise InUse(f"{held} was taken over by {owner}: this run ends here; what that one saves is kept")


def in_use(directory: str | os.PathLike[str]) -> bool:
    """Whether a process that is known to live, this one included, writes to `directory`."""
    path = as_path(directory) / LOCK_FILE
    if is_remote(path) or not path.exists():
        return False
    if fcntl is not None:
        try:
            file = _locked_file(path)
        except BlockingIOError:
            return True
        if file is not None:
            os.close(file)
            return False
    owner = _read(path)
    return owner is not None and (owner.pid == os.getpid() or _lives_here(owner))


def _whole(directory: str | os.PathLike[str]) -> Path:
    root = as_path(directory)
    return root if is_remote(root) else root.absolute()


def _acquired(root: Path, wait: bool) -> _Lock:
    with explaining(root):
        make_directory(root)
        said = False
        while (lock := _try(root)) is None:
            owner = _read(root / LOCK_FILE) or "another process"
            if not wait:
                raise InUse(
                    f"{root} is in use by {owner}: wait until it ends, stop it, or choose another directory (--workdir)"
                )
            if not said:
                print(f"waiting for {owner}, which works in {root}", file=sys.stderr, flush=True)
            said = True
            _pause(POLL_SECONDS)
    return lock


def _try(root: Path) -> _Lock | None:
    """A lock on `root`, or None where another process that may live holds one."""
    path, file = root / LOCK_FILE, None
    if not is_remote(root) and fcntl is not None:
        try:
            file = _locked_file(path)
        except BlockingIOError:
            return _own(_read(path))
    before = _read(path)
    if before is not None and file is None and _lives_here(before):
        return None
    if before is not None:
        print(f"{root}: taking over from {before}, which did not end its work", file=sys.stderr, flush=True)
    owner = _myself()
    text = json.dumps(dataclasses.asdict(owner)).encode()
    if file is None:
        write_bytes(path, text)
    else:
        os.truncate(file, 0)
        os.pwrite(file, text, 0)
    return _Lock(owner=owner, file=file, holders=0)


def _own(owner: Owner | None) -> _Lock | None:
    """This process's own lock, come here with a directory that was renamed."""
    return next((lock for lock in _HELD.values() if owner is not None and lock.owner.token == owner.token), None)


def _locked_file(path: Path) -> int | None:
    """The open lock file with the system's lock on it; None where the file system has no such locks.

    Raises:
        BlockingIOError: another process holds it.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before removed its file: a lock on a file without a name keeps nobody out.
            if path.exists() and os.path.samestat(os.fstat(file), os.stat(path)):
                return file
            os.close(file)
        except BlockingIOError:
            os.close(file)
            raise
        except OSError:
            os.close(file)
            return None


def _let_go(key: str) -> None:
    lock = _HELD[key]
    lock.holders -= 1
    if lock.holders:
        return
    for same in [name for name, held in _HELD.items() if held is lock]:
        del _HELD[same]
    path = as_path(key) / LOCK_FILE
    # Whatever a bucket's client raises: a lock left behind is taken over by the next run.
    with contextlib.suppress(Exception):
        owner = _read(path)
        if owner is not None and owner.token == lock.owner.token:
            path.unlink()
    if lock.file is not None:
        os.close(lock.file)


def _release_all() -> None:
    while _HELD:
        key, lock = next(iter(_HELD.items()))
        lock.holders = 1
        _let_go(key)


def _forget() -> None:
    """In a child made by `fork`, which holds nothing itself."""
    for lock in _HELD.values():
        if lock.file is not None:
            os.close(lock.file)
    _HELD.clear()


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _lives_here(owner: Owner) -> bool:
    """Whether the process is one of this host and runs; that of another host cannot be asked."""
    if owner.host != socket.gethostname() or owner.pid == os.getpid() or fcntl is None:
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _myself() -> Owner:
    now = datetime.datetime.now(datetime.UTC).astimezone().isoformat(timespec="seconds")
    return Owner(host=socket.gethostname(), pid=os.getpid(), started=now, token=uuid.uuid4().hex)


atexit.register(_release_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
