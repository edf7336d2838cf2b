"""What a generator does wrong: the error bank, one-step errors, errors of rollouts and what they are compared with."""

from recycle_jax.errors.bank.bank import AnySlot as AnySlot
from recycle_jax.errors.bank.bank import ErrorBank as ErrorBank
from recycle_jax.errors.bank.eviction import Reservoir as Reservoir
from recycle_jax.errors.bank.replacement import Ring as Ring
from recycle_jax.errors.rollout.harvest import Harvest as Harvest
from recycle_jax.errors.rollout.references import Continued as Continued
from recycle_jax.errors.rollout.references import Gate as Gate
from recycle_jax.errors.rollout.references import Recorded as Recorded
from recycle_jax.errors.rollout.references import Reference as Reference
from recycle_jax.errors.rollout.registered import Registered as Registered
from recycle_jax.errors.rollout.registration import Registration as Registration
from recycle_jax.errors.rollout.shifted import Shifted as Shifted
