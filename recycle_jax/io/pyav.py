"""PyAV, imported only where a video file is touched, and file names as FFmpeg must be given them."""

import os
from types import ModuleType

from recycle_jax.extras import require


def import_av() -> ModuleType:
    """Returns PyAV.

    Raises:
        ImportError: it is not installed, with the command that installs it.
    """
    return require("av", extra="video")


def ffmpeg_name(path: str | os.PathLike[str]) -> str:
    """Returns the absolute path: FFmpeg reads `12:30.mp4` as a protocol named `12`, and `-` as standard input."""
    return os.path.abspath(os.fspath(path))
