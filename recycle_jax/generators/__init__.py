"""What one autoregressive step is, whatever the network: predictors, flows, adapters for your own network."""

from recycle_jax.generators.adapt import fixed as fixed
from recycle_jax.generators.adapt import flow_call as flow_call
from recycle_jax.generators.adapt import from_function as from_function
from recycle_jax.generators.adapt import from_nnx as from_nnx
from recycle_jax.generators.adapt import plain_call as plain_call
from recycle_jax.generators.adapt import predictor_call as predictor_call
from recycle_jax.generators.anchored import Anchored as Anchored
from recycle_jax.generators.base import Example as Example
from recycle_jax.generators.base import Fit as Fit
from recycle_jax.generators.base import Generator as Generator
from recycle_jax.generators.base import Levels as Levels
from recycle_jax.generators.linen import from_linen as from_linen
from recycle_jax.generators.predictor import Predictor as Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow as RectifiedFlow
from recycle_jax.generators.rectified_flow import data_head as data_head
from recycle_jax.generators.rectified_flow import velocity_head as velocity_head
from recycle_jax.generators.wrapper import Wrapper as Wrapper
