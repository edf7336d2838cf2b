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
what that leaves is spent on recycling (`experiments/NOTES.md`, "When recycling begins, and how cold"), both at a rate
at which speeds are learned by then ("The rate at which recycling learns", "What lasts does not remember").
`recycle()` gives settings, reference, temperature, first policy and rate together; `training.phases` runs them.
"""

import dataclasses

from jax.sharding import Mesh

from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.bank.capacity import in_a_shard, logical_shards
from recycle_jax.errors.bank.draws import DrawRule, OwnDomain
from recycle_jax.errors.bank.replacement import Replacement, Ring
from recycle_jax.errors.bank.threshold import AdaptiveThreshold
from recycle_jax.errors.controls import ErrorTransform
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Gate, Reference
from recycle_jax.errors.rollout.registered import Registered
from recycle_jax.generators.base import Generator, anchors_of, own_level_of
from recycle_jax.generators.provenance import Provenance, can_be_told
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.generators.temperature import choose_temperature, is_deterministic
from recycle_jax.histories.anchor import AnchoredHistory
from recycle_jax.histories.base import ExamplePolicy, HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.corrupt import CorruptedHistory
from recycle_jax.histories.gradient_normalised import GradientNormalizedLoss, mean_gradient_energy
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.histories.relay import Relay
from recycle_jax.histories.replay import AddErrors, ReplayCases
from recycle_jax.histories.scheduled import ScheduledSampling
from recycle_jax.typing import Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recycling:
    """Hyper-parameters of recycling from complete cases.

    Attributes:
        chains: persistent rollouts.
        max_age: largest age of a case, in steps.
        paced: whether ages grow with what the generator can bear, see `errors.rollout.harvest`, in place of all from
        the start.
        harvest_every: updates between harvests.
        harvest_steps: generator steps of every chain in a harvest.
        capacity: cases the bank holds, over all shards.
        shards: logical shards of the bank, a multiple of the number of devices; None for as many as make draws the same
            on 1, 2, 4 and 8 devices: 8, or fewer where batch, chains or capacity are small (`in_shards`).
        clean_rows: rows of real history, of every sum of these numbers.
        case_rows: rows of banked history with the reference's target: own-sample.
        error_rows: rows of real history with a banked error on it and the real target: cross-sample.
        disguised_rows: rows of real history that the network is told to be its own, where it is told of that.
        relay_rows: rows of `relay`, whose histories are predictions of earlier passes and whose targets are recorded.
        relay: what those rows do; it keeps a memory of its own beside the bank, shared out as the bank is.
        case_weight: weight in the loss of a row with errors, over that of a clean one.
        noise: white noise up to this standard deviation on every history with errors, its level told; 0 for none.
        clean_noise: the same on real history; None for none where the network is told which history is its own, and for
            `noise` where it is not, since one answer must then do for both.
        repair_prob: probability that a frame of a case's context is the reference's version of it.
        strongest: errors of a case are scaled by `U(0, strongest)`, each frame for itself; 1 leaves them as they are.
        trust: displacement in pixels up to whose change of the picture a case has its whole weight, see
            `histories.replay.ReplayCases`; None trusts all alike, and so does a generator that draws, since what it
            draws moves a rollout away from the clip as an error does, and is none.
        max_displacement_px: displacement in pixels, beyond which a chain is lost, see `errors.rollout.harvest.Harvest`:
            cases are as old as the generator bears and no older. None leaves lost chains to the reference's gate, and
            so does a generator that draws, as above.
        gradient_normalized: whether rows are weighed so that a displacement costs the same in all of them, see
        `histories.gradient_normalised`.
        guessed: probability that a frame of real history is the generator's own guess of it, one step from real frames,
            as in scheduled sampling (`histories.scheduled`), at its cost, without noise; 0 leaves real history alone.
        corrupted: what is done to real history in place of noise and guesses, or None.
        reach: where the generator keeps anchors, most frames left out between them and the recent ones on real history;
            as long as the oldest rollout, so that both kinds of history show the same.
        rule: how cases are drawn; `errors.bank.draws` has draws balanced over domains and by score, and for
            cross-sample errors draws from the clip's own domain.
        replacement: which case gives way to a new one; `errors.bank.eviction` has others than the oldest.
        threshold: which cases are errors worth banking, by a threshold that follows each domain's scores; None banks
            all that the reference's gate accepts.
    """

    chains: int = 32
    max_age: int = 32
    paced: bool = False
    harvest_every: int = 20
    harvest_steps: int = 4
    capacity: int = 2048
    shards: int | None = None
    clean_rows: int = 1
    case_rows: int = 1
    error_rows: int = 0
    disguised_rows: int = 0
    relay_rows: int = 0
    relay: Relay = Relay(max_age=8, capacity=2048)
    case_weight: float = 1.0
    noise: float = 0.03
    clean_noise: float | None = None
    repair_prob: float = 0.0
    strongest: float = 1.0
    trust: float | None = None
    max_displacement_px: float | None = None
    gradient_normalized: bool = False
    guessed: float = 0.0
    corrupted: CorruptedHistory | None = None
    reach: int = 32
    rule: AnySlot | DrawRule | OwnDomain = AnySlot()
    replacement: Replacement = Ring()
    threshold: AdaptiveThreshold | None = None

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
        return Harvest(
            generator=generator, max_age=self.max_age, paced=self.paced, max_displacement_px=max_displacement_px
        )

    def bank(self) -> ErrorBank:
        """The bank: one slot, a ring; one shard where their number is still open.

        Raises:
            ValueError: if the capacity cannot be shared out evenly.
        """
        return ErrorBank(
            shards=self.shards or 1,
            capacity=in_a_shard(self.capacity, self.shards or 1),
            replacement=self.replacement,
            threshold=self.threshold,
        )

    def policy(
        self, bank: ErrorBank, generator: Generator, error_transform: ErrorTransform | None = None
    ) -> ExamplePolicy:
        """Clean and banked history, row by row; `error_transform` changes the errors of replayed cases, for controls.

        Raises:
            ValueError: if a relay is asked for of a generator that keeps anchors, or real history is to be both guessed
                and corrupted.
        """
        if self.guessed and self.corrupted is not None:
            raise ValueError(f"guessed is {self.guessed} and real history corrupted too: leave one of them")
        usual = 0.0 if own_level_of(generator) else self.noise
        clean_noise = usual if self.clean_noise is None else self.clean_noise
        clean: ExamplePolicy = NoiseAugmentation(most=clean_noise) if clean_noise else TeacherForcing()
        if self.guessed:
            clean = ScheduledSampling(share=self.guessed)
        if self.corrupted is not None:
            clean = self.corrupted
        # A case brings its own target, so that it is at home in any row.
        of_cases = AnySlot() if isinstance(self.rule, OwnDomain) else self.rule
        replay = ReplayCases(
            bank=bank,
            noise=self.noise,
            error_transform=error_transform,
            rule=of_cases,
            weight=self.case_weight,
            repair_prob=self.repair_prob,
            strongest=self.strongest,
            trust=self.trust if is_deterministic(generator) else None,
        )
        add = AddErrors(bank=bank, noise=self.noise, rule=self.rule, weight=self.case_weight)
        own = NoiseAugmentation(most=self.noise, disguised=True)
        shares = (
            (self.clean_rows, clean),
            (self.case_rows, replay),
            (self.error_rows, add),
            (self.disguised_rows, own),
            (self.relay_rows, self.relay),
        )
        rows = Mixture(parts=tuple((rows, policy) for rows, policy in shares if rows))
        if not anchors_of(generator):
            return rows
        if self.relay_rows:
            raise ValueError(
                f"relay_rows is {self.relay_rows}, but {type(generator).__name__} keeps anchors, which a relay's "
                "histories would lose: use relay_rows=0"
            )
        return AnchoredHistory(inner=rows, reach=self.reach)

    def weighed(self, policy: ExamplePolicy, real: Batch) -> ExamplePolicy:
        """The policy with even rows, where they are asked for; real clips say what a usual row is."""
        return (
            GradientNormalizedLoss(inner=policy, reference_energy=mean_gradient_energy(real))
            if self.gradient_normalized
            else policy
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """What `training.phases.recycle_phase` is given.

    Attributes:
        reference: what rollouts are compared with.
        recycling: the settings.
        temperature: of a flow's sampler, where the next frame follows from the context.
        own_level: what the network is told of a history of its own, see `generators.provenance`; 0 for nothing.
        first: trains a generator from scratch until recycling begins; one that is trained already is recycled as it is.
        learning_rate: of both phases, at the top of their schedules, for `training.phases.Adam`.
    """

    reference: Reference
    recycling: Recycling
    temperature: float = 1.0
    own_level: float = 0.0
    first: HistoryPolicy = TeacherForcing()
    learning_rate: float = 1e-3

    def generator(self, generator: Generator, params: Params, batch: Batch, mesh: Mesh | None = None) -> Generator:
        """Who is recycled and rolled out: a `RectifiedFlow` cooled where right, any told what is its own if asked.

        Generators without a network of their own, such as wrappers, are left as they are.

        Args:
            generator: as it was trained.
            params: its parameters after teacher forcing.
            batch: real clips by which `generators.temperature.choose_temperature` decides.
            mesh: where it decides, None for all devices.
        """
        if isinstance(generator, RectifiedFlow):
            generator = choose_temperature(generator, params, batch, temperature=self.temperature, mesh=mesh)
        return self.told(generator)

    def told(self, generator: Generator) -> Generator:
        """The generator told of its own frames, where it can be."""
        if not self.own_level or not can_be_told(generator):
            return generator
        return Provenance(inner=generator, own_level=self.own_level)


def recycle(
    *,
    noise: float = 0.05,
    reanchor_rate: float = 0.5,
    velocity_damping: float | None = None,
    gate_distance: float = 0.03,
    repair_prob: float = 0.5,
    trust: float | None = None,
    max_displacement_px: float | None = 0.4,
    gradient_normalized: bool = True,
    temperature: float = 0.0,
    own_level: float = 0.0,
    first: HistoryPolicy = TeacherForcing(),  # noqa: B008 (frozen)
    learning_rate: float = 8e-3,
) -> Recipe:
    """The recipe; see `errors.rollout.registered` for what `reanchor_rate` and `velocity_damping` do, `Recycling` for
    the other settings.

    `reanchor_rate`, `noise` and the like were chosen among 21 settings by the screening of `experiments.compare`, the
    rest by pilots on seeds that are not reported.

    Args:
        noise: strongest white noise on every history with errors, in frame units.
        reanchor_rate: share of its displacement that a chain takes back at every step.
        velocity_damping: share of its change of displacement that a chain takes back; None moves new frames only.
        gate_distance: largest mean squared distance of a case from the clip moved onto it, in frame units squared; a
            case farther away may be displaced by more than the move can follow, and its target then blurs. With .01
            one-step loss is up to 23 % lower, and flows of two of three worlds are lost sooner.
        repair_prob: probability that a frame of a replayed history is the reference's version of it.
        trust: displacement in pixels up to whose change of the picture a case has its whole weight; None trusts all.
            For recycling without `max_displacement_px`, at the risk that speeds are forgotten.
        max_displacement_px: displacement in pixels beyond which a chain is lost.
        gradient_normalized: whether rows are weighed so that a displacement costs the same in all of them.
        temperature: of a flow's sampler where the next frame follows from the context; at 0 its rollouts from one start
            are one rollout, so use 1 wherever they must differ.
        own_level: what the network is told of a history of its own; 0 makes one answer do for real history too, which
            lasts longer. With .5 and `Recycling(disguised_rows=1, case_rows=2, case_weight=0.3)` one-step loss on real
            history is lower, see `experiments/NOTES.md`.
        first: trains a generator from scratch until recycling begins.
        learning_rate: of the first policy and of recycling. It was found for networks of some hundred thousand
            parameters that are half trained, and has not been tried on others: a large one, or one that is finished,
            is safer with the rate that its own training ended at.
    """
    reference = Registered(
        reanchor_rate=reanchor_rate, velocity_damping=velocity_damping, gate=Gate(distance=gate_distance, mass=0.5)
    )
    return Recipe(
        reference=reference,
        recycling=Recycling(
            noise=noise,
            repair_prob=repair_prob,
            trust=trust,
            max_displacement_px=max_displacement_px,
            gradient_normalized=gradient_normalized,
        ),
        temperature=temperature,
        own_level=own_level,
        first=first,
        learning_rate=learning_rate,
    )
