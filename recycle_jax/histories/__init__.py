"""How a training step makes the context that it is conditioned on; `recycle()` gives the recipe of recycling."""

from recycle_jax.histories.base import ExamplePolicy as ExamplePolicy
from recycle_jax.histories.base import HistoryPolicy as HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing as TeacherForcing
from recycle_jax.histories.diffusion_forcing import DiffusionForcing as DiffusionForcing
from recycle_jax.histories.gradient_normalised import GradientNormalizedLoss as GradientNormalizedLoss
from recycle_jax.histories.mixture import Mixture as Mixture
from recycle_jax.histories.noise import NoiseAugmentation as NoiseAugmentation
from recycle_jax.histories.pushforward import Pushforward as Pushforward
from recycle_jax.histories.recipe import Recipe as Recipe
from recycle_jax.histories.recipe import Recycling as Recycling
from recycle_jax.histories.recipe import recycle as recycle
from recycle_jax.histories.replay import ReplayCases as ReplayCases
from recycle_jax.histories.resampling import ResamplingForcing as ResamplingForcing
from recycle_jax.histories.scheduled import ScheduledSampling as ScheduledSampling
from recycle_jax.histories.svi import svi_film as svi_film
from recycle_jax.histories.svi import svi_shot as svi_shot
from recycle_jax.histories.unrolled import Unrolled as Unrolled
