"""TensorFlow Datasets named as people name them: by the set's own directory, by one above it, or by name."""

import os
import re
from collections.abc import Iterator
from typing import Any

MARK = "dataset_info.json"
"""The file that every directory of a prepared set holds."""

NAME = re.compile(r"\w+(/[^/:=]+)?(:[^/:]+)?(/[^/]+=[^/]*)?")
"""Name, config, version and settings, as TFDS takes them."""

LEVELS = 3
"""Directories from a `data_dir` down to a prepared set: name, config, version."""


def open_tfds(source: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None) -> Any:
    """Returns the builder of a prepared set, or of a registered one, which is prepared first where needed.

    Args:
        source: a directory, one above it, an address (`gs://…`), or a name with `/config` and `:version` at will.
        data_dir: where sets are looked for by name and prepared, None for the default of TFDS.

    Raises:
        ImportError: tensorflow-datasets is missing, or only TensorFlow can read the set, with what to do.
        ValueError: no such set, or a directory that holds several, naming them.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError("data sets of TFDS need it: run `pip install tensorflow-datasets pillow`") from error
    name = os.path.expanduser(os.fspath(source))
    place = None if data_dir is None else os.path.expanduser(os.fspath(data_dir))
    try:
        prepared = _prepared(tfds, name)
        if prepared is not None:
            return tfds.builder_from_directory(prepared)
        if not NAME.fullmatch(name):
            raise ValueError(_unknown(name, place))
        builder = tfds.builder(name, data_dir=place, file_format="array_record")
        builder.download_and_prepare()
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{source} needs {error.name}: run `pip install {error.name}`; where only features.Video "
            f"needs it, store video as features.Tensor or features.Sequence(features.Image) instead"
        ) from error
    except tfds.core.registered.DatasetNotFoundError as error:
        raise ValueError(_unknown(name, place)) from error
    return builder


def _prepared(tfds: Any, name: str) -> str | None:
    """Returns the directory of the one prepared set at or below `name`; None where `name` is no directory."""
    root = tfds.core.Path(name)
    is_address = "://" in name
    if not is_address and not root.exists() and not _looks_like_path(name):
        return None
    if (root / MARK).exists():
        return name
    sets: dict[str, Any] = {}
    for found in _sets_below(root, LEVELS):
        best = sets.get(str(found.parent))
        sets[str(found.parent)] = found if best is None else max(best, found, key=_version)
    if len(sets) == 1:
        return str(next(iter(sets.values())))
    if sets:
        raise ValueError(f"{name} holds several data sets; name one: {', '.join(map(str, sorted(sets.values())))}")
    if root.exists() and not is_address and not _looks_like_path(name):
        return None  # a folder that happens to have the name of a registered set
    raise ValueError(
        f"there is no prepared data set at {name}: no {MARK} in it or up to {LEVELS} directories below; "
        f"give its directory, or a name and data_dir="
    )


def _looks_like_path(name: str) -> bool:
    return os.path.isabs(name) or name.startswith((".", "~")) or name.endswith("/") or "://" in name


def _sets_below(folder: Any, levels: int) -> Iterator[Any]:
    if not levels or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "incomplete.")) or not path.is_dir():
            continue
        if (path / MARK).exists():
            yield path
        else:
            yield from _sets_below(path, levels - 1)


def _version(folder: Any) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", folder.name)))


def _unknown(name: str, place: str | None) -> str:
    return (
        f"there is no data set {name!r}: no directory of that name, none prepared in "
        f"{place or 'the default data_dir of TFDS'}, and none registered with TFDS; give the directory that holds its "
        f"{MARK}, or data_dir="
    )
