"""Paths of a run's files: local ones, and `gs://BUCKET/…` for pods, whose hosts share no disk.

`pathlib` folds `gs://bucket` into the local `gs:/bucket`, so a path that a user wrote goes through `as_path` first.
Names made of method ids may hold characters that some file systems refuse; `named` maps them.
"""

import os
import re
import shutil
from pathlib import Path
from typing import cast
from urllib.parse import quote, unquote

REMOTE = "gs://"
# Two letters at least before the colon: `C:/` is a drive.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_SAFE = " !#$&'()+,;=@[]^`{}~"
"""What `safe_name` leaves as it is, besides letters, digits and `_.-`: legal on every common file system."""


def as_path(path: str | os.PathLike[str]) -> Path:
    """Returns a local path as `pathlib.Path`, and `gs://BUCKET/…` as an `etils.epath.Path`, which has its methods.

    Raises:
        ValueError: another URL.
    """
    text = os.fspath(path)
    if not _URL.match(text):
        return Path(path)
    if not re.match(r"gs://[^/]", text):
        raise ValueError(f"{text} cannot be used; give a local directory, or gs://BUCKET/DIRECTORY")
    from etils import epath  # only remote runs need it

    return cast(Path, epath.Path(text))


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path lies in a bucket."""
    return os.fspath(path).startswith(REMOTE)


def home_expanded(path: str | os.PathLike[str]) -> Path:
    """Returns the absolute path, with `~` and `~USER` written out; a path in a bucket unchanged.

    Raises:
        ValueError: `~` where there is no home directory, or another URL than `gs://`.
    """
    given = as_path(path)
    if is_remote(given):
        return given
    try:
        return given.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"{given}: there is no such home directory ({error}); give a full path") from error


def make_directory(path: Path) -> None:
    """Makes a local directory and those above it; a bucket has no directories to make."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def remove_tree(path: Path, *, missing_ok: bool = False) -> None:
    """Removes a directory and all below it.

    Raises:
        FileNotFoundError: there is none and `missing_ok` is false.
    """
    try:
        if is_remote(path):
            path.rmtree()  # type: ignore[attr-defined]
        else:
            shutil.rmtree(path)
    except FileNotFoundError:
        if not missing_ok:
            raise


def safe_name(name: str) -> str:
    """Returns a file name that every common file system takes: `ours:late` becomes `ours%3Alate`.

    Different names stay different, and `plain_name` gives the old one back. Text beyond ASCII stays as it is.
    """
    return "".join(letter if ord(letter) > 127 else quote(letter, safe=_SAFE) for letter in name)


def plain_name(name: str) -> str:
    """Returns the name that `safe_name` made a file name of."""
    return unquote(name, errors="surrogateescape")


def named(directory: Path, name: str) -> Path:
    """Returns the path of `name` in `directory`: as older versions wrote it where such a file is there, else safe."""
    safe = safe_name(name)
    if safe != name and (old := directory / name).exists():
        return old
    return directory / safe
