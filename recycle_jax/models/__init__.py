"""Networks only: small conditional U-Nets, and what turns a module into pure functions."""

from recycle_jax.models.base import Network as Network
from recycle_jax.models.base import functional as functional
from recycle_jax.models.base import parameter_count as parameter_count
from recycle_jax.models.conv import frame_unet as frame_unet
from recycle_jax.models.conv import velocity_unet as velocity_unet
