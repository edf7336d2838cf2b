"""Results and metrics as JSON: whole files replaced at once, and JSON lines that grow.

JSON has no NaN: a NaN is written as null and the infinities as the strings "Infinity" and "-Infinity", so
that every reader of any language can open the files.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np

from recycle_jax.io.files import explaining, write_bytes
from recycle_jax.io.paths import as_path, is_remote


def plain(value: Any, where: str = "") -> Any:
    """Returns `value` in JSON's own types: dataclasses and arrays unfolded, NaN and infinities spelled out.

    Args:
        value: nested mappings, sequences, dataclasses, numpy or JAX arrays and scalars, paths, None.
        where: the place of `value` in the whole, for the message.

    Raises:
        TypeError: something of another type, with its place.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return plain(_lists(value), where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    place = where.lstrip(".") or "the value"
    raise TypeError(f"{place} is a {type(value).__name__}, which JSON cannot hold; pass numbers, text, lists")


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Writes `value` as indented JSON in one step: readers see the old file or the new one.

    Raises:
        TypeError: something JSON cannot hold, with its place.
        OSError: unwritable or full disk, with the remedy; the old file is kept.
    """
    text = json.dumps(plain(value), indent=1, allow_nan=False) + "\n"
    return write_bytes(path, text.encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads what `write_json` wrote (NaN comes back as None).

    Raises:
        ValueError: not JSON, naming the file.
    """
    try:
        return json.loads(as_path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{os.fspath(path)} is not JSON ({error}); delete it or restore it") from error


def append_jsonl(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Appends one record as one line, handed to the operating system before returning.

    A line half written by a run that was killed is dropped first; when the disk is full the file is left as it was.
    In a bucket each append uploads the whole file: log once an interval, not once a step.

    Raises:
        OSError: unwritable or full disk, with the remedy.
    """
    line = (json.dumps(plain(record), allow_nan=False) + "\n").encode()
    target = as_path(path)
    if is_remote(target):
        there = target.read_bytes() if target.exists() else b""
        write_bytes(target, there[: there.rfind(b"\n") + 1] + line)
        return
    with explaining(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
        with open(target, "r+b", buffering=0) as file:
            _write_or_restore(file, _end_of_whole_lines(file), line)


def read_jsonl(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads the records of a JSON-lines file; a half-written last line is left out.

    Raises:
        ValueError: a broken line anywhere else, with its number.
    """
    *whole, _ = as_path(path).read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(whole, start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"line {number} of {os.fspath(path)} is not JSON ({error}); delete that line") from error
    return records


def _number(value: float) -> float | str | None:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    return "Infinity" if value > 0 else "-Infinity"


def _lists(value: Any) -> Any:
    array = np.asarray(value)
    # Extended types such as bfloat16 have no Python number of their own.
    return (array if array.dtype.kind in "biufUS" else array.astype(np.float32)).tolist()


def _end_of_whole_lines(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return 0
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return size
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def _write_or_restore(file: BinaryIO, end: int, line: bytes) -> None:
    file.seek(end)
    file.truncate()
    try:
        while line:
            line = line[file.write(line) :]
    except OSError:
        file.truncate(end)
        raise
