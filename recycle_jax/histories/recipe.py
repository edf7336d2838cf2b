"""The recipe of recycling, with its one set of defaults.

Rounds of harvest and correction from a trained generator on: every harvest rolls persistent chains on by a few steps,
moves them and the recorded clips onto each other (`errors.rollout.registered`) and banks a case a step; every
correction draws clean clips and banked cases, half and half, with light noise on all histories. Half of a case's
frames, each for itself, are the reference's version of them, so that errors come and go from frame to frame and a
network learns to ask whether two frames agree before it reads a speed off them. A chain ends where it is farther from
the clip moved onto it than a few tenths of a pixel make it (`Harvest.max_displacement_px`): what the move does not
explain asks for a jump that no context foretells, a jump teaches no speed, and a generator that loses speeds makes
rollouts that lag the more; so ages grow as the generator bears them. Rows weigh so that a displacement costs the same
in all of them (`histories.gradient_normalised`), since a mean square teaches bare things least. A flow draws nothing,
then and afterwards, where the next frame follows from the context (`generators.temperature`): what a draw adds there is
jitter, and jitter in a history is a speed that walks, which no target can mend. It needs clips, and no simulator and no
other network.
A generator that is not trained yet is first trained by teacher forcing, for half of the updates that it would have had;
what that leaves is spent on recycling (`docs/lab_notes`, "When recycling begins, and how cold"), both at a rate
at which speeds are learned by then ("The rate at which recycling learns", "What lasts does not remember").
`recycle()` gives settings, reference, temperature and rate together; `training.phases` runs them.
"""

import dataclasses
from fractions import Fraction

from jax.sharding import Mesh

from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.bank.capacity import in_a_shard, logical_shards
from recycle_jax.errors.bank.draws import DrawRule
from recycle_jax.errors.bank.replacement import Replacement, Ring
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Gate, Reference
from recycle_jax.errors.rollout.registered import Registered
from recycle_jax.generators.base import Generator, anchors_of
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.generators.temperature import choose_temperature, is_deterministic
from recycle_jax.histories.anchor import AnchoredHistory
from recycle_jax.histories.base import ExamplePolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.gradient_normalised import GradientNormalizedLoss, mean_gradient_energy
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.histories.replay import ReplayCases
from recycle_jax.typing import Params

LARGEST_PERIOD = 16
"""Rows after which clean and replayed rows repeat, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recycling:
    """Hyper-parameters of recycling from complete cases.

    Attributes:
        chains: persistent rollouts.
        max_age: largest age of a case, in steps.
        harvest_every: updates between harvests.
        harvest_steps: generator steps of every chain in a harvest.
        capacity: cases the bank holds, over all shards.
        shards: logical shards of the bank, a multiple of the number of devices; None for as many as make draws the same
            on 1, 2, 4 and 8 devices: 8, or fewer where batch, chains or capacity are small (`in_shards`).
        replay_fraction: share of the rows that are banked cases, the others are real clips: a fraction of at most 16
            rows, such as 1/2 or 3/4, by whose denominator the rows of each device must be divisible.
        noise: white noise up to this standard deviation on every history, its level told to the network; 0 for none.
        repair_prob: probability that a frame of a case's context is the reference's version of it.
        max_displacement_px: displacement in pixels, beyond which a chain is lost, see `errors.rollout.harvest.Harvest`:
            cases are as old as the generator bears and no older. None leaves lost chains to the reference's gate, and
            so does a generator that draws, since what it draws moves a rollout away from the clip as an error does, and
            is none.
        gradient_normalized: whether rows are weighed so that a displacement costs the same in all of them, see
            `histories.gradient_normalised`.
        max_anchor_gap: where the generator keeps anchors, most frames left out between them and the recent ones on real
            history; as long as the oldest rollout, so that both kinds of history show the same.
        rule: how cases are drawn; `errors.bank.draws` has draws balanced over domains and by score.
        replacement: which case gives way to a new one; `errors.bank.eviction` has others than the oldest.

    Raises:
        ValueError: if `replay_fraction` is no such fraction.
    """

    chains: int = 32
    max_age: int = 32
    harvest_every: int = 20
    harvest_steps: int = 4
    capacity: int = 2048
    shards: int | None = None
    replay_fraction: float = 0.5
    noise: float = 0.05
    repair_prob: float = 0.5
    max_displacement_px: float | None = 0.4
    gradient_normalized: bool = True
    max_anchor_gap: int = 32
    rule: AnySlot | DrawRule = AnySlot()
    replacement: Replacement = Ring()

    def __post_init__(self) -> None:
        nearest = _fraction(self.replay_fraction)
        if not 0.0 <= self.replay_fraction <= 1.0 or abs(nearest - self.replay_fraction) > 1e-3:
            raise ValueError(
                f"replay_fraction is {self.replay_fraction}, must be a fraction in [0, 1] of at most {LARGEST_PERIOD} "
                f"rows: use {min(max(nearest, Fraction(0)), Fraction(1))}"
            )

    def in_shards(self, rows: int, devices: int) -> "Recycling":
        """These settings with a number of shards.

        Args:
            rows: of a batch that read and write the bank, on all devices together.
            devices: how many.
        """
        if self.shards is not None:
            return self
        return dataclasses.replace(self, shards=logical_shards(devices, rows, self.chains, self.capacity))

    def harvest(self, generator: Generator, deterministic: bool | None = None) -> Harvest:
        """What rolls out and compares; `deterministic` where it is known, else what the generator says of itself."""
        known = is_deterministic(generator) if deterministic is None else deterministic
        max_displacement_px = self.max_displacement_px if known else None
        return Harvest(generator=generator, max_age=self.max_age, max_displacement_px=max_displacement_px)

    def bank(self) -> ErrorBank:
        """The bank: one slot, a ring; one shard where their number is still open.

        Raises:
            ValueError: if the capacity cannot be shared out evenly.
        """
        shards = self.shards or 1
        return ErrorBank(shards=shards, capacity=in_a_shard(self.capacity, shards), replacement=self.replacement)

    def policy(self, bank: ErrorBank, generator: Generator) -> ExamplePolicy:
        """Clean and banked history, row by row."""
        clean = NoiseAugmentation(most=self.noise) if self.noise else TeacherForcing()
        replay = ReplayCases(bank=bank, noise=self.noise, rule=self.rule, repair_prob=self.repair_prob)
        replayed, period = _fraction(self.replay_fraction).as_integer_ratio()
        shares: tuple[tuple[int, ExamplePolicy], ...] = ((period - replayed, clean), (replayed, replay))
        rows = Mixture(parts=tuple(share for share in shares if share[0]))
        return AnchoredHistory(inner=rows, max_gap=self.max_anchor_gap) if anchors_of(generator) else rows

    def weighed(self, policy: ExamplePolicy, real: Batch) -> ExamplePolicy:
        """The policy with a gradient-normalised loss, where it is asked for; real clips say what a usual row is."""
        if not self.gradient_normalized:
            return policy
        return GradientNormalizedLoss(inner=policy, reference_energy=mean_gradient_energy(real))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """What `training.phases.recycle_phase` is given.

    Attributes:
        reference: what rollouts are compared with.
        recycling: the settings.
        temperature: of a flow's sampler, where the next frame follows from the context.
        learning_rate: at the top of the schedule, for `training.phases.Adam`: of recycling, and of the teacher forcing
            before it where a generator is trained from scratch.
    """

    reference: Reference
    recycling: Recycling
    temperature: float = 1.0
    learning_rate: float = 1e-3

    def generator(self, generator: Generator, params: Params, batch: Batch, mesh: Mesh | None = None) -> Generator:
        """Who is recycled and rolled out: a `RectifiedFlow` at the temperature where right, others as they are.

        Args:
            generator: as it was trained.
            params: its parameters after teacher forcing.
            batch: real clips by which `generators.temperature.choose_temperature` decides.
            mesh: where it decides, None for all devices.
        """
        if not isinstance(generator, RectifiedFlow):
            return generator
        return choose_temperature(generator, params, batch, temperature=self.temperature, mesh=mesh)


def recycle(
    *,
    noise: float = 0.05,
    reanchor_rate: float = 0.5,
    velocity_damping: float | None = None,
    gate_distance: float = 0.03,
    repair_prob: float = 0.5,
    max_displacement_px: float | None = 0.4,
    gradient_normalized: bool = True,
    temperature: float = 0.0,
    learning_rate: float = 8e-3,
) -> Recipe:
    """The recipe; see `errors.rollout.registered` for what `reanchor_rate` and `velocity_damping` do, `Recycling` for
    the other settings.

    `reanchor_rate`, `noise` and the like were chosen among 21 settings by the screening of the comparison, the rest by
    pilots on seeds that are not reported.

    Args:
        noise: strongest white noise on every history, in frame units.
        reanchor_rate: share of its displacement that a chain takes back at every step.
        velocity_damping: share of its change of displacement that a chain takes back; None moves new frames only.
        gate_distance: largest mean squared distance of a case from the clip moved onto it, in frame units squared; a
            case farther away may be displaced by more than the move can follow, and its target then blurs. With .01
            one-step loss is up to 23 % lower, and flows of two of three worlds are lost sooner.
        repair_prob: probability that a frame of a replayed history is the reference's version of it.
        max_displacement_px: displacement in pixels beyond which a chain is lost.
        gradient_normalized: whether rows are weighed so that a displacement costs the same in all of them.
        temperature: of a flow's sampler where the next frame follows from the context; at 0 its rollouts from one start
            are one rollout, so use 1 wherever they must differ.
        learning_rate: at the top of the schedule. It was found for networks of some hundred thousand parameters that
            are half trained, and has not been tried on others: a large one, or one that is finished, is safer with the
            rate that its own training ended at.
    """
    gate = Gate(distance=gate_distance, mass=0.5)
    return Recipe(
        reference=Registered(reanchor_rate=reanchor_rate, velocity_damping=velocity_damping, gate=gate),
        recycling=Recycling(
            noise=noise,
            repair_prob=repair_prob,
            max_displacement_px=max_displacement_px,
            gradient_normalized=gradient_normalized,
        ),
        temperature=temperature,
        learning_rate=learning_rate,
    )


def _fraction(value: float) -> Fraction:
    return Fraction(value).limit_denominator(LARGEST_PERIOD)
