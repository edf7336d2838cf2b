"""Names of parts of a recording: `walk.mp4[120:340]` is frames 120 to 339 of the clip `walk.mp4`.

Parts of one recording show the same scene, so that they belong on the same side of a split.
"""

import re

_PART = re.compile(r"(?s)(.*)\[(\d+):(\d+)\]")


def part_name(name: str, start: int, stop: int) -> str:
    """Returns the name of frames `start` to `stop - 1` of a clip, which may be a part itself."""
    found = _PART.fullmatch(name)
    offset = int(found[2]) if found else 0
    return f"{recording_name(name)}[{offset + start}:{offset + stop}]"


def recording_name(name: str) -> str:
    """Returns the name of the whole recording that a clip is a part of."""
    found = _PART.fullmatch(name)
    return found[1] if found else name
