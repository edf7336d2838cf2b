"""Small video files of any kind, for tests of what reads them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def brightening(frames=30, height=32, width=48):
    """A clip whose frames differ in brightness, with noise, so that packets have the sizes of real ones."""
    noise = np.random.default_rng(0).integers(-6, 7, (frames, height, width, 3))
    level = np.linspace(60, 200, frames).astype(int)[:, None, None, None]
    return (noise + level).astype(np.uint8)


def moving(frames=30, side=64):
    """Noisy stripes that move: predicted frames carry data that can be damaged."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(side), np.arange(side), indexing="ij")
    stripes = (((x - 2 * t) % side < 20) & ((y + t) % 32 < 16))[..., None] * 200
    return (stripes + np.random.default_rng(1).integers(0, 40, (frames, side, side, 3))).astype(np.uint8)


def encode(
    path, clip, codec="libx264", *, fps=30, pix_fmt="yuv420p", options=None, gop=None, aspect=None, prepare=None
):
    """Writes `[t, h, w, 3 or 4]` uint8; `prepare(container, stream)` may add to both before the first frame."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width, stream.pix_fmt = clip.shape[1], clip.shape[2], pix_fmt
        if gop:
            stream.codec_context.gop_size = gop
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if prepare:
            prepare(container, stream)
        for frame in clip:
            made = av.VideoFrame.from_ndarray(frame, format="rgba" if clip.shape[-1] == 4 else "rgb24")
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
    return path


def encode_at(path, milliseconds):
    """Writes frames at given times, each brighter than the one before."""
    clip = brightening(len(milliseconds))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for frame, time in zip(clip, milliseconds, strict=True):
            made = av.VideoFrame.from_ndarray(frame, format="rgb24")
            made.pts, made.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
    return path


def overwrite(source, target, at, data):
    """Copies a file with some bytes replaced."""
    raw = bytearray(Path(source).read_bytes())
    raw[at : at + len(data)] = data
    target = Path(target)
    target.write_bytes(raw)
    return target


def packets(path):
    """(position, size, whether a key frame) of each packet of the first video stream."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
