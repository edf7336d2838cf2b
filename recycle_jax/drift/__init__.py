"""How long rollouts stay what real video is: statistics, bands, horizons, growth laws."""

from recycle_jax.drift.bands import Bands as Bands
from recycle_jax.drift.bands import calibrate as calibrate
from recycle_jax.drift.base import Metric as Metric
from recycle_jax.drift.base import measure as measure
from recycle_jax.drift.monitor import Measurement as Measurement
from recycle_jax.drift.monitor import Monitor as Monitor
from recycle_jax.drift.recorded import recorded_bands as recorded_bands
from recycle_jax.drift.recorded import recorded_statistics as recorded_statistics
from recycle_jax.drift.statistics import Statistics as Statistics
