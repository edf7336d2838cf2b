"""What came out of video files, and where it is kept, so that the next run starts at once."""

import dataclasses
import hashlib
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recycle_jax.data.discover import Found
from recycle_jax.data.frame_times import Pace
from recycle_jax.data.geometry import FrameRule
from recycle_jax.io.files import replacing

CACHE_VERSION = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodedFile:
    """What came out of one file.

    Attributes:
        pieces: uint8 `[t, h, w, 3]` each; more than one where frames in between are missing.
        gaps: one line for each place where frames are missing.
        pace: of the frames in the file, before any were chosen.
        failure: why nothing could be read, empty otherwise.
    """

    pieces: tuple[np.ndarray, ...] = ()
    gaps: tuple[str, ...] = ()
    pace: Pace = Pace()
    failure: str = ""


def fingerprint(found: Found, rule: FrameRule) -> str:
    """Returns a name that changes with the files (name, size, time of change) and the rule."""
    stats = [(found.name(file), stat.st_size, stat.st_mtime_ns) for file in found.files for stat in (file.stat(),)]
    text = json.dumps([CACHE_VERSION, dataclasses.asdict(rule), stats])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def default_cache() -> Path:
    """Returns where decoded frames are kept: `recycle_jax` in the user's cache directory, else with temporary files.

    Containers often run without a home directory, or with one that cannot be written to.
    """
    home = os.path.expanduser("~")
    wanted = [os.environ.get("XDG_CACHE_HOME", ""), os.path.join(home, ".cache") if os.path.isabs(home) else ""]
    folders = (Path(folder) / "recycle_jax" for folder in wanted if os.path.isabs(folder))
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return next(filter(_may_write, folders), Path(tempfile.gettempdir()) / f"recycle_jax-{user}")


def read_cache(path: Path) -> list[DecodedFile] | None:
    """Returns what `write_cache` kept; None, with a warning, for what cannot be read."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            entries, read = json.loads(str(stored["files"])), iter(range(len(stored.files)))
            return [_restored(entry, stored, read) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        warnings.warn(f"the cache {path} cannot be read ({error}); decoding again", stacklevel=4)
        return None


def write_cache(path: Path, files: Sequence[DecodedFile]) -> None:
    """Keeps decoded files; warns where that is impossible."""
    entries = json.dumps([_entry(file) for file in files])
    arrays = {f"clip{index}": piece for index, piece in enumerate(piece for file in files for piece in file.pieces)}
    try:
        with replacing(path) as temporary:
            np.savez(temporary, allow_pickle=False, files=np.array(entries), **arrays)
    except OSError as error:
        warnings.warn(f"{error}; the next run decodes again", stacklevel=4)


def _entry(file: DecodedFile) -> dict[str, Any]:
    return {
        "pieces": len(file.pieces),
        "gaps": file.gaps,
        "pace": dataclasses.asdict(file.pace),
        "failure": file.failure,
    }


def _restored(entry: dict[str, Any], stored: Any, read: Any) -> DecodedFile:
    return DecodedFile(
        pieces=tuple(stored[f"clip{next(read)}"] for _ in range(entry["pieces"])),
        gaps=tuple(entry["gaps"]),
        pace=Pace(**entry["pace"]),
        failure=entry["failure"],
    )


def _may_write(folder: Path) -> bool:
    """Whether `folder` can be written to, or made."""
    # Not `Path.exists`, which raises where a folder above may not be looked into.
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)
