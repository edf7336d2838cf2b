"""Where clips come from: arrays, folders of video files, TensorFlow Datasets, simulated worlds."""

from recycle_jax.data.arrays import ArrayClips as ArrayClips
from recycle_jax.data.arrays import from_arrays as from_arrays
from recycle_jax.data.arrays import to_signed as to_signed
from recycle_jax.data.base import ClipSource as ClipSource
from recycle_jax.data.splitting import split_clips as split_clips
from recycle_jax.data.tfds import load_tfds as load_tfds
from recycle_jax.data.videos import FrameRule as FrameRule
from recycle_jax.data.videos import load_folder as load_folder
from recycle_jax.data.worlds.balls import BouncingBalls as BouncingBalls
from recycle_jax.data.worlds.base import World as World
from recycle_jax.data.worlds.base import WorldDefaults as WorldDefaults
from recycle_jax.data.worlds.base import pixel_grid as pixel_grid
from recycle_jax.data.worlds.clips import WorldClips as WorldClips
