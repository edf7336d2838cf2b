"""Data sets of TFDS, built here as ArrayRecord and read without TensorFlow."""

import io
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from recycle_jax.data.tfds import load_tfds, video_features
from recycle_jax.data.videos import FrameRule

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:tensorflow_datasets")
IMAGE = tfds.features.Image(shape=(8, 8, 3))
STORED = {
    "tensor": tfds.features.Tensor(shape=(None, 8, 8, 3), dtype=np.uint8, encoding="zlib"),
    "images": tfds.features.Sequence(IMAGE),
    "steps": tfds.features.Dataset({"observation": {"image": IMAGE}, "action": np.float32}),
    "lists": tfds.features.Sequence({"image": IMAGE, "action": np.float32}),
    "label": tfds.features.ClassLabel(names=["still", "moving"]),
    "place": tfds.features.Text(),
    "count": np.int64,
}


def clips():
    return [np.random.default_rng(i).integers(0, 256, (5 + i, 8, 8, 3), np.uint8) for i in range(4)]


def png(frame):
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    buffer.seek(0)
    return buffer


def example(index, clip):
    return {
        "tensor": clip,
        "images": [png(frame) for frame in clip],
        "steps": [{"observation": {"image": png(frame)}, "action": 0.5} for frame in clip],
        "lists": [{"image": png(frame), "action": 0.5} for frame in clip],
        "label": index % 2,
        "place": f"room {index}",
        "count": index,
    }


def build(path, kept):
    features = tfds.features.FeaturesDict({name: STORED[name] for name in kept})

    class TinyVideos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        __module__ = "tiny_videos"  # a builder in a package makes TFDS look for metadata files beside it
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, download):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for index, clip in enumerate(clips()):
                yield index, {name: example(index, clip)[name] for name in kept}

    builder = TinyVideos(data_dir=path, file_format="array_record")
    builder.download_and_prepare()
    return builder.data_dir


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return build(tmp_path_factory.mktemp("tfds"), list(STORED))


def in_order(arrays):
    return sorted(arrays, key=len)


@pytest.mark.parametrize("feature", ["tensor", "images", "steps/observation/image", "lists/image"])
def test_every_kind_of_video_comes_back_exactly(everything, feature):
    source = load_tfds(everything, feature=feature, domain="label", min_frames=4)
    for read, written in zip(in_order(source.clips), clips(), strict=True):
        np.testing.assert_array_equal(read, written)
    assert source.domains == ("moving", "still")
    assert source.batch(0, 3, 4).clip.shape == (3, 4, 8, 8, 3)
    assert "tensorflow" not in sys.modules


def test_labels_belong_to_their_clips(everything):
    for domain in ("label", "place", "count"):
        source = load_tfds(everything, feature="tensor", domain=domain)
        for clip, label in zip(source.clips, source.labels, strict=True):
            index = len(clip) - 5
            expected = {
                "label": ["still", "moving"][index % 2],
                "place": f"room {index}",
                "count": str(index),
            }
            assert source.domains[label] == expected[domain]


def test_the_only_video_is_found(tmp_path):
    source = load_tfds(build(tmp_path, ["images", "label", "place"]))
    assert [clip.shape[1:] for clip in source.clips] == [(8, 8, 3)] * 4
    assert source.domains == ("all",)


def test_splits_sizes_and_limits(everything):
    rule = FrameRule(height=4, width=4, max_frames=3)
    source = load_tfds(everything, split="train[:75%]", feature="tensor", rule=rule, max_clips=2)
    assert [clip.shape for clip in source.clips] == [(3, 4, 4, 3)] * 2
    with pytest.raises(ValueError, match="max_bytes .* after 1 clips; set max_clips"):
        load_tfds(everything, feature="tensor", max_bytes=100)


def test_what_there_is_is_named(everything, tmp_path):
    names = ["images", "lists/image", "steps/observation/image", "tensor"]
    features = tfds.builder_from_directory(everything).info.features
    assert sorted(video_features(features)) == names
    with pytest.raises(ValueError, match="several features hold video: .*tensor.*choose one"):
        load_tfds(everything)
    with pytest.raises(ValueError, match="no feature 'clip'; features: .*tensor"):
        load_tfds(everything, feature="clip")
    with pytest.raises(ValueError, match="no feature 'kind'; features"):
        load_tfds(everything, feature="tensor", domain="kind")
    with pytest.raises(ValueError, match="no feature is a stack of uint8 images; features: count, label"):
        load_tfds(build(tmp_path, ["label", "count"]))


def test_a_set_that_needs_tensorflow_says_so(tmp_path, monkeypatch):
    def needs_tensorflow(_):
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    (tmp_path / "dataset_info.json").write_text("{}")
    monkeypatch.setattr(tfds, "builder_from_directory", needs_tensorflow)
    with pytest.raises(ImportError, match=r"pip install tensorflow.*features\.Tensor or features\.Sequence"):
        load_tfds(tmp_path)
