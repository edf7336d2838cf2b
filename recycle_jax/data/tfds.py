"""A TensorFlow Datasets set as a source of clips, read without TensorFlow.

Any feature that is a stack of images is a video: a 4-D uint8 tensor, a sequence of images, or the images
inside a sequence or a nested dataset of steps (`steps/observation/image`).
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from recycle_jax.data.arrays import ArrayClips, from_arrays
from recycle_jax.data.geometry import FrameRule, resize_clip
from recycle_jax.data.tfds_names import open_tfds
from recycle_jax.io.progress import track


def load_tfds(
    source: str | os.PathLike[str],
    *,
    split: str = "train",
    feature: str | None = None,
    domain: str | None = None,
    rule: FrameRule | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    max_clips: int | None = None,
    max_bytes: int = 8 * 2**30,
    seed: int = 0,
    stride: int = 1,
    min_frames: int = 1,
) -> ArrayClips:
    """Reads one split of a data set into memory.

    Args:
        source: the directory of a prepared set, or one above it that holds no other set (`~` and addresses such as
            `gs://…` included); or a name, `name:version`, `name/config` or `name/config:version`, of a set that
            lies in `data_dir` or is registered, and is prepared there first where needed.
        split: as TFDS names it, slices such as `train[:10%]` included.
        feature: the video feature, `a/b` for a nested one; found if it is None and there is only one.
        domain: a feature that labels the clips (class label, text or number), None for one domain.
        rule: size and crop, None for frames as they are; its `fps` is not used.
        data_dir: where registered sets are prepared, None for TFDS's own.
        max_clips: clips read, from the start of the split, all if None.
        max_bytes: how much memory the frames may take.
        seed, stride, min_frames: as in `ArrayClips`.

    Raises:
        ImportError: tensorflow-datasets is missing, or only TensorFlow can read the set, with what to do.
        ValueError: no such set, or several; no or several video features, or no such feature, naming those there
            are; too much memory; no clip as long as `min_frames`.
    """
    builder = open_tfds(source, data_dir)
    features = builder.info.features
    chosen = _choose_video(features, feature)
    label = None if domain is None else _leaf(features, domain)
    rows = builder.as_data_source(split=split)
    wanted = itertools.islice(_examples(rows), max_clips)
    clips, domains, total = [], [], 0
    for example in track(wanted, f"reading {builder.info.name}", min(len(rows), max_clips or len(rows))):
        clip = _as_clip(example, chosen)
        clips.append(clip if rule is None else resize_clip(clip, rule))
        domains.append("all" if domain is None else _domain_name(label, _value(example, domain.split("/"))))
        total += clips[-1].nbytes
        _require_memory(total, max_bytes, len(clips))
    names = [f"{split}/{index:07d}" for index in range(len(clips))]
    return from_arrays(clips, names=names, domains=domains, seed=seed, stride=stride, min_frames=min_frames)


def video_features(features: Any) -> list[str]:
    """Returns the names of the features that hold video, `a/b` for nested ones."""
    return sorted(name for name, leaf, depth in _leaves(features) if _is_video(leaf, depth))


def _choose_video(features: Any, wanted: str | None) -> list[str]:
    found = video_features(features)
    if wanted is not None:
        _leaf(features, wanted)
        return wanted.split("/")
    if len(found) == 1:
        return found[0].split("/")
    everything = ", ".join(sorted(name for name, _, _ in _leaves(features)))
    if found:
        raise ValueError(f"several features hold video: {', '.join(found)}; choose one with feature=")
    raise ValueError(f"no feature is a stack of uint8 images; features: {everything}; name one with feature=")


def _leaves(features: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any, int]]:
    """Yields each leaf feature with its name and the number of sequences around it."""
    for name, feature in features.items():
        below, inner = depth, feature
        # Sequences and nested data sets hold what they repeat in `feature`.
        while hasattr(inner, "feature"):
            below, inner = below + 1, inner.feature
        if hasattr(inner, "items"):
            yield from _leaves(inner, f"{path}{name}/", below)
        else:
            yield f"{path}{name}", inner, below


def _leaf(features: Any, name: str) -> Any:
    known = {found: leaf for found, leaf, _ in _leaves(features)}
    if name not in known:
        raise ValueError(f"there is no feature {name!r}; features: {', '.join(sorted(known))}")
    return known[name]


def _is_video(leaf: Any, depth: int) -> bool:
    return len(leaf.shape) + depth == 4 and depth <= 1 and leaf.np_dtype == np.uint8


def _examples(rows: Sequence[Any]) -> Iterator[Any]:
    return (rows[index] for index in range(len(rows)))


def _value(node: Any, path: Sequence[str]) -> Any:
    """Returns the value at `path`; on the way lie mappings, or sequences of them, which are stacked."""
    if not path:
        return node
    if isinstance(node, Mapping):
        return _value(node[path[0]], path[1:])
    return np.stack([np.asarray(_value(node[index], path)) for index in range(len(node))])


def _as_clip(example: Any, path: Sequence[str]) -> np.ndarray:
    value = _value(example, path)
    return value if isinstance(value, np.ndarray) else np.stack([np.asarray(frame) for frame in value])


def _domain_name(feature: Any, value: Any) -> str:
    if hasattr(feature, "int2str"):
        return feature.int2str(int(value))
    return value.decode() if isinstance(value, bytes) else str(value)


def _require_memory(total: int, max_bytes: int, clips: int) -> None:
    if total > max_bytes:
        raise ValueError(
            f"frames take more than max_bytes = {max_bytes / 2**30:.2f} GiB after {clips} clips; "
            f"set max_clips, give a rule with a smaller size or max_frames, or raise max_bytes"
        )
