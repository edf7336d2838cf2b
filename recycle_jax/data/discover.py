"""Which files below a folder are video, links followed, and what had to be passed over."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".gif"),
    *(".3g2", ".3gp", ".asf", ".f4v", ".flv", ".m2ts", ".m2v", ".mpv", ".mts", ".mxf", ".ogv", ".qt", ".vob"),
    *(".wmv", ".y4m"),
)
LITTER = {"__MACOSX", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "lost+found"}
"""Folders that file systems and archives leave behind; besides them, everything whose name begins with a dot."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The video files below a folder.

    Attributes:
        root: the folder.
        files: in order of name, each under one name only.
        problems: one line for each file or folder that is there and cannot be reached.
        repeats: one line for each link to a file that is in `files` under another name.
    """

    root: Path
    files: tuple[Path, ...]
    problems: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()

    def name(self, file: Path) -> str:
        """Returns the name of a file relative to the folder, with characters that can be printed and saved only."""
        return os.fsencode(file.relative_to(self.root).as_posix()).decode(errors="backslashreplace")


def find_videos(folder: str | os.PathLike[str]) -> Found:
    """Returns the video files below `folder`, by suffix; or `folder` itself, if it is a file.

    Linked files and folders are followed, except links that lead back to a folder they lie in. A file that is reached
    under two names is listed once, by the name without a link where there is one, so that no clip is both trained on
    and held out. Names that begin with a dot are left out: macOS puts a `._name` beside every file on foreign disks.

    Raises:
        ValueError: there is no such folder, or no video in it.
    """
    root = Path(folder).expanduser().absolute()
    if os.path.isfile(root):
        return Found(root=root.parent, files=(root,))
    if not os.path.isdir(root):
        raise ValueError(f"{root} is not a folder; name the folder that holds the video files")
    problems: list[str] = []
    reached = sorted(_walk(root, (), problems), key=lambda file: file.relative_to(root).as_posix())
    files, repeats = _each_once(reached, problems)
    if not files:
        raise ValueError(_none_found(root, problems))
    return Found(root=root, files=tuple(files), problems=tuple(problems), repeats=tuple(repeats))


def _walk(folder: Path, above: tuple[str, ...], problems: list[str]) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if here in above:
        return
    try:
        names = sorted(os.listdir(folder), key=os.fsencode)
    except OSError as error:
        problems.append(f"{folder} cannot be listed: {error.strerror}")
        return
    for name in names:
        path = folder / name
        if name.startswith(".") or name in LITTER:
            continue
        if os.path.isdir(path):
            yield from _walk(path, (*above, here), problems)
        elif path.suffix.lower() in SUFFIXES:
            yield path


def _each_once(reached: list[Path], problems: list[str]) -> tuple[list[Path], list[str]]:
    chosen: dict[str, Path] = {}
    for file in reached:
        if not os.path.isfile(file):
            problems.append(f"{file} {_why_no_file(file)}")
            continue
        real = os.path.realpath(file)
        if real not in chosen or str(file) == real:
            chosen[real] = file
    kept = set(chosen.values())
    repeats = [
        f"{file} is the same file as {chosen[os.path.realpath(file)]}"
        for file in reached
        if os.path.isfile(file) and file not in kept
    ]
    return [file for file in reached if file in kept], repeats


def _why_no_file(file: Path) -> str:
    if os.path.islink(file):
        return f"is a link to {os.readlink(file)}, which is not there"
    return "is no file" if os.path.exists(file) else "is not there any more, or may not be read"


def _none_found(root: Path, problems: list[str]) -> str:
    hidden = sum(name.startswith(".") for _, _, names in os.walk(root) for name in names)
    notes = [f"{hidden} files whose names begin with a dot are left out"] if hidden else []
    return "; ".join([f"no video in {root} or below; files must end in {', '.join(SUFFIXES)}", *notes, *problems])
