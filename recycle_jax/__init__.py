"""recycle_jax: error recycling for autoregressive video generators.

    import recycle_jax as rj

    generator = rj.RectifiedFlow(network=rj.generators.from_nnx(MyNet), context_frames=4)
    params = rj.train(generator, clips, updates=2000)             # skip it if you have parameters
    result = rj.recycle(generator, params, clips, updates=3400)   # stable on its own output
    rj.stream(result.generator, result.params, start, frames=10_000, to="long.mp4")
    rj.horizon(result.generator, result.params, held_out, against=params).save("report.html")
    rj.save(result.generator, result.params, "my_generator/")

Every call takes the mesh of all devices by default. What the calls choose can be given instead: settings of recycling
(`Recycling`), the optimiser's rate, references (`rj.errors`), history policies (`rj.histories`), sources (`rj.data`).
"""

from importlib.metadata import PackageNotFoundError, version

from recycle_jax import data as data
from recycle_jax import drift as drift
from recycle_jax import errors as errors
from recycle_jax import generators as generators
from recycle_jax import histories as histories
from recycle_jax import models as models
from recycle_jax.api.exporting import export as export
from recycle_jax.api.generate import Streamed as Streamed
from recycle_jax.api.generate import iterate as iterate
from recycle_jax.api.generate import rollout as rollout
from recycle_jax.api.generate import stream as stream
from recycle_jax.api.measuring import Horizon as Horizon
from recycle_jax.api.measuring import horizon as horizon
from recycle_jax.api.saving import load as load
from recycle_jax.api.saving import save as save
from recycle_jax.api.training import Recycled as Recycled
from recycle_jax.api.training import recycle as recycle
from recycle_jax.api.training import train as train
from recycle_jax.batch import Batch as Batch
from recycle_jax.batch import Condition as Condition
from recycle_jax.data.base import ClipSource as ClipSource
from recycle_jax.generators.base import Generator as Generator
from recycle_jax.generators.predictor import Predictor as Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow as RectifiedFlow
from recycle_jax.histories.recipe import Recycling as Recycling
from recycle_jax.sharding import make_mesh as make_mesh

NAMESPACES = ("data", "drift", "errors", "generators", "histories", "models")

__all__ = [
    "Batch",
    "ClipSource",
    "Condition",
    "Generator",
    "Horizon",
    "Predictor",
    "RectifiedFlow",
    "Recycled",
    "Recycling",
    "Streamed",
    "export",
    "horizon",
    "iterate",
    "load",
    "make_mesh",
    "recycle",
    "rollout",
    "save",
    "stream",
    "train",
    *NAMESPACES,
]

try:
    __version__ = version("recycle_jax")
except PackageNotFoundError:  # a bare checkout on sys.path
    __version__ = "0+unknown"
