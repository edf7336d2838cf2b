"""Every method of the comparison that can be run, with the setting that was chosen for it.

Rivals had two to five settings each and the recipe 27 (`SCREENED`), of which a screening on two worlds and on seeds
that are not reported chose one by the largest geometric mean of exit frames; `setting` says which. Ids are those of the
result files. Their second part says what is changed: `fast` is the recipe's learning rate, `cold` a flow that draws
nothing, `even` a gradient-normalised loss, `early` a start from half of B. Methods that are in the results and not here
were taken out with the code that they needed; the tag `ablations-1` has it.
"""

from experiments.comparison.baselines.backward import Backward, BackwardHarvest
from experiments.comparison.baselines.controls import PhaseRandomised, Shuffled
from experiments.comparison.baselines.corrupt import CorruptedHistory
from experiments.comparison.baselines.relay import Relay
from experiments.comparison.builders import (
    SLOW,
    adversarial,
    anchored,
    another,
    at_temperature,
    by_recipe,
    chosen,
    discrete,
    flows_only,
    from_half_of_b,
    gradient_normalized,
    has_temperature,
    kernel,
    ours,
    published,
    recorded,
    recycling,
    serving,
    simulated,
    sized,
    tuned,
    with_context_noise,
    with_errors,
    with_foreign_errors,
    with_learning_rate,
    with_stale_bank,
)
from experiments.comparison.method import METHODS, Method, needs_simulator, needs_world
from experiments.comparison.phases import Variant
from experiments.comparison.sanity import copy_last, real
from recycle_jax.histories.anchor import AnchoredHistory
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.diffusion_forcing import DiffusionForcing
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.histories.pushforward import Pushforward
from recycle_jax.histories.resampling import ResamplingForcing
from recycle_jax.histories.scheduled import ScheduledSampling
from recycle_jax.histories.svi import svi_film, svi_shot
from recycle_jax.histories.unrolled import Unrolled

ANCHOR_GAP = 32
"""Most frames between an anchor and the frames that follow it in training."""

RELAY = Relay(max_age=8, capacity=2048)
SCHEDULED = ScheduledSampling(share=0.5)
CORRUPT = tuned(CorruptedHistory(by_frame=True))
FORCING = with_context_noise(DiffusionForcing(most=0.2), told=0.02)
UNROLLED_GRADIENT = tuned(Unrolled(steps=4, gradient=True, rematerialise=False))
MMD, DISCRETE = kernel(1.0), discrete(512, 2)

SCREENED = {
    **{"ours": 27, "pushforward": 5, "noise": 4, "forcing": 4, "scheduled": 4, "unrolled": 4, "unrolled_gradient": 4},
    **{"resampling": 4, "relay": 4, "backward": 3, "corrupt": 2, "discrete": 2, "context_noise": 2},
    **{"critic_mmd": 2, "critic_gan": 2},
}
"""Settings tried, method by method; one of all others."""

RIVALS: dict[str, Method] = {
    "noise": chosen("noise=0.05,cooled", at_temperature(tuned(NoiseAugmentation(most=0.05)), 0.5)),
    "forcing": chosen("forcing=weak,stabilised,cooled", at_temperature(FORCING, 0.5)),
    "scheduled": chosen("scheduled=0.5,cooled", at_temperature(tuned(SCHEDULED), 0.5)),
    "pushforward": chosen("pushforward=1", tuned(Pushforward(steps=1))),
    "unrolled": chosen("unrolled=2", tuned(Unrolled(steps=2, gradient=False))),
    "unrolled_gradient": chosen("unrolled_gradient=4,cooled", at_temperature(UNROLLED_GRADIENT, 0.5)),
    "resampling": chosen(
        "resampling=0.2,cooled", serving(flows_only, at_temperature(tuned(ResamplingForcing(shift=0.2)), 0.5))
    ),
    "backward": chosen(
        "backward=8",
        recycling(
            lambda task: Backward(),
            lambda job: Variant(harvest=lambda harvest: BackwardHarvest(**vars(harvest))),
            max_age=8,
        ),
    ),
    "dagger": serving(needs_simulator, recycling(simulated, noise=0.0, capacity=16_384)),
    "relay": chosen("relay=8,cooled", at_temperature(tuned(RELAY), 0.5)),
    "corrupt": chosen("corrupt=published", CORRUPT),
    "discrete": chosen("discrete=512", DISCRETE),
    "context_noise": chosen("context_noise=told", with_context_noise(NoiseAugmentation(most=0.1), told=0.03)),
    "critic_mmd": chosen("critic_mmd=1", MMD),
    "critic_gan": chosen("critic_gan=0.1", adversarial(0.1)),
    "anchored": another(anchored, AnchoredHistory(inner=TeacherForcing(), max_gap=ANCHOR_GAP)),
    "longer_context": another(lambda task: sized(task, context=2 * task.generator.context_frames)),
    "bigger_network": another(lambda task: sized(task, width=3 * task.net.width // 2)),
    "svi_shot": published(svi_shot),
    "svi_film": published(svi_film),
}
"""What recycling is compared with."""


def early(method: Method) -> Method:
    """From half of B on, its flow drawing nothing."""
    return from_half_of_b(at_temperature(method, 0.0))


EARLY: dict[str, Method] = {
    "scheduled_early": early(tuned(SCHEDULED)),
    "forcing_early": early(FORCING),
    "relay_early": early(tuned(RELAY)),
    "corrupt_early": early(CORRUPT),
    "relay_always": from_half_of_b(at_temperature(tuned(RELAY), 0.0), first=RELAY),
}
"""The best rivals as the recipe begins, and the relay that is there from the first update on."""

B_PLUS_COLD = serving(has_temperature, at_temperature(METHODS["b_plus"], 0.0))
FAST: dict[str, Method] = {
    "b_plus:fast": with_learning_rate(METHODS["b_plus"]),
    "b_plus:cold": B_PLUS_COLD,
    "b_plus:cold,fast": with_learning_rate(B_PLUS_COLD),
    **{f"{name}:fast": with_learning_rate(method) for name, method in EARLY.items()},
    "critic_mmd:fast": with_learning_rate(at_temperature(MMD, 0.0)),
    "discrete:fast": with_learning_rate(at_temperature(DISCRETE, 0.0)),
    "corrupt_early:history,fast": with_learning_rate(early(tuned(CorruptedHistory()))),
    "scheduled_early:even,fast": with_learning_rate(early(gradient_normalized(SCHEDULED))),
    "relay_early:even,fast": with_learning_rate(early(gradient_normalized(RELAY))),
}
"""B+ and the best rivals at the recipe's learning rate and temperature."""


def slow(method: Method) -> Method:
    """The recipe before its chains ended, at the budget's rates, from half of B trained as a relay."""
    return by_recipe(method, SLOW, first=RELAY)


OURS: dict[str, Method] = {
    "ours": chosen("ours=mended,cold,within,even,fast", ours(recycling())),
    "ours:within,fast": ours(recycling(gradient_normalized=False)),
    "ours:within,unmended,fast": ours(recycling(gradient_normalized=False, repair_prob=0.0)),
    "ours:no_noise,even,fast": ours(recycling(noise=0.0)),
    "ours:unmended,even,fast": ours(recycling(repair_prob=0.0)),
    "ours:slow": slow(recycling()),
    "ours:unmended": slow(recycling(repair_prob=0.0)),
    "ours:no_noise": slow(recycling(noise=0.0)),
    "ours:young": slow(recycling(max_age=4)),
    "ours:old": slow(recycling(max_age=96)),
    "recorded": slow(recycling(recorded)),
    "recorded:young": slow(recycling(recorded, max_age=4)),
    "recycle_continued": serving(needs_simulator, slow(recycling(simulated))),
}
"""The recipe with one thing changed, then `ours:slow` with one thing changed; all are shown, none is chosen."""

CONTROLS: dict[str, Method] = {
    "phase_randomised": slow(with_errors(PhaseRandomised())),
    "shuffled": slow(with_errors(Shuffled())),
    "stale": slow(with_stale_bank()),
    "foreign": slow(with_foreign_errors()),
    "phase_randomised:even,fast": ours(with_errors(PhaseRandomised())),
    "phase_randomised:half,even,fast": ours(with_errors(PhaseRandomised(amplitude=0.5))),
    "phase_randomised:twice,even,fast": ours(with_errors(PhaseRandomised(amplitude=2.0))),
    "shuffled:even,fast": ours(with_errors(Shuffled())),
    "stale:even,fast": ours(with_stale_bank()),
    "foreign:even,fast": ours(with_foreign_errors()),
}
"""What recycling must beat, or own errors do not matter: of `ours:slow`, and of the recipe where the id says `even`."""

SANITY: dict[str, Method] = {
    "copy_last": Method(run=copy_last),
    "real": Method(run=real, refuses=needs_world),
}
"""A still picture and real video, to see that the evaluation knows them."""

TABLE: dict[str, Method] = {
    "b": METHODS["b"],
    "b_plus": METHODS["b_plus"],
    **RIVALS,
    **EARLY,
    **FAST,
    **OURS,
    **CONTROLS,
    **SANITY,
}
