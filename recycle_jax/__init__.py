"""recycle_jax: error recycling for autoregressive video generators.

Bring a generator (`Predictor`, `RectifiedFlow`, or your own behind the `Generator` protocol) and clips (any
`ClipSource`); train it with `train_phase`, recycle its errors with `recycle_phase`, and measure with `stream` and a
`Monitor` how long its rollouts stay what real video is.
"""

from recycle_jax.batch import Batch as Batch
from recycle_jax.data.base import ClipSource as ClipSource
from recycle_jax.drift.bands import Bands as Bands
from recycle_jax.drift.bands import calibrate as calibrate
from recycle_jax.drift.monitor import Monitor as Monitor
from recycle_jax.drift.statistics import Statistics as Statistics
from recycle_jax.errors.bank.bank import ErrorBank as ErrorBank
from recycle_jax.errors.rollout.harvest import Harvest as Harvest
from recycle_jax.errors.rollout.references import Continued as Continued
from recycle_jax.errors.rollout.references import Recorded as Recorded
from recycle_jax.errors.rollout.registered import Registered as Registered
from recycle_jax.errors.rollout.registration import Registration as Registration
from recycle_jax.generators.base import Generator as Generator
from recycle_jax.generators.predictor import Predictor as Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow as RectifiedFlow
from recycle_jax.histories.clean import TeacherForcing as TeacherForcing
from recycle_jax.histories.mixture import Mixture as Mixture
from recycle_jax.histories.noise import NoiseAugmentation as NoiseAugmentation
from recycle_jax.histories.pushforward import Pushforward as Pushforward
from recycle_jax.histories.recipe import Recipe as Recipe
from recycle_jax.histories.recipe import Recycling as Recycling
from recycle_jax.histories.recipe import recycle as recycle
from recycle_jax.histories.replay import ReplayCases as ReplayCases
from recycle_jax.rollout.scan import rollout as rollout
from recycle_jax.rollout.stream import stream as stream
from recycle_jax.training.ema import ema_params as ema_params
from recycle_jax.training.ema import with_ema as with_ema
from recycle_jax.training.loop import Observer as Observer
from recycle_jax.training.loop import Schedule as Schedule
from recycle_jax.training.phases import Adam as Adam
from recycle_jax.training.phases import recycle_phase as recycle_phase
from recycle_jax.training.phases import train_phase as train_phase
