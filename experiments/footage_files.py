"""What a run asks of a folder of video files besides its clips: its identity and its frame rate."""

import contextlib
from pathlib import Path

import numpy as np

from recycle_jax.data.discover import find_videos
from recycle_jax.io.identity import folder_hash
from recycle_jax.io.video import import_av

FALLBACK_FPS = 8.0
"""Frame rate of videos where no file tells one."""


def data_hash(folder: str) -> str | None:
    """A short hash of the video files of a folder, by which results of other files are refused; None for no folder."""
    if not folder:
        return None
    root = Path(folder).expanduser()
    return folder_hash(root, find_videos(root).files)


def frame_rate(folder: str) -> float:
    """The median frame rate of a folder's video files, frames a second; `FALLBACK_FPS` where no file tells one."""
    av, rates = import_av(), []
    for path in find_videos(folder).files if folder else ():
        with contextlib.suppress(av.FFmpegError), av.open(str(path)) as container:  # decoding names what is unsound
            rates += [float(stream.average_rate) for stream in container.streams.video[:1] if stream.average_rate]
    return float(np.median(rates)) if rates else FALLBACK_FPS
