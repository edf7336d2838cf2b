"""What is done to whole frames before they are scaled, by FFmpeg's filters: interlacing, cropping, transparency.

Interlaced frames hold two moments, one in every second row; `bwdif` gives the first of them in all rows. Transparent
pixels are shown over black, multiplied by their opacity before they are averaged with their neighbours.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from recycle_jax.io.pyav import import_av
from recycle_jax.io.reading import Picture

NO_CROP = (0, 0, 0, 0)


def filtered(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Yields as many pictures, not interlaced, not transparent, cropped as the container asks."""
    graph, waiting, key = None, deque[Picture](), None
    interlaced = False
    for picture in pictures:
        interlaced = interlaced or picture.frame.interlaced_frame
        wanted = _key(picture, interlaced)
        if wanted != key:
            yield from _drained(graph, waiting)
            graph, key = _graph(picture, interlaced), wanted
        if graph is None:
            yield picture
        else:
            waiting.append(picture)
            graph.vpush(picture.frame)
            yield from _pulled(graph, waiting)
    yield from _drained(graph, waiting)


def _key(picture: Picture, interlaced: bool) -> tuple[Any, ...]:
    """What a graph is made for: it takes one layout of pictures only."""
    frame = picture.frame
    return frame.width, frame.height, frame.format.name, interlaced, picture.crop


def _graph(picture: Picture, interlaced: bool) -> Any:
    frame = picture.frame
    steps = [("bwdif", "mode=send_frame:deint=interlaced")] if interlaced else []
    if picture.crop != NO_CROP:
        top, bottom, left, right = picture.crop
        steps.append(("crop", f"iw-{left + right}:ih-{top + bottom}:{left}:{top}:exact=1"))
    if frame.format.has_palette or any(part.is_alpha for part in frame.format.components):
        steps += [("format", "gbrap"), ("premultiply", "inplace=1"), ("format", "gbrap")]
    if not steps:
        return None
    graph = import_av().filter.Graph()
    size = {"width": frame.width, "height": frame.height, "format": frame.format, "time_base": frame.time_base}
    nodes = [graph.add_buffer(**size), *(graph.add(name, settings) for name, settings in steps)]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Any, waiting: deque[Picture]) -> Iterator[Picture]:
    av = import_av()
    while True:
        try:
            frame = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield replace(waiting.popleft(), frame=frame, crop=NO_CROP)


def _drained(graph: Any, waiting: deque[Picture]) -> Iterator[Picture]:
    if graph is not None:
        graph.vpush(None)
        yield from _pulled(graph, waiting)
