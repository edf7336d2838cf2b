"""Every remedy for drift that the comparison knows, each with the few settings that are screened.

An id is `FAMILY` or `FAMILY=SETTING`. Screening picks one setting a family, by the rule of
`experiments.comparison.model_selection`, and every family has at most four: equal tuning. Those that were thought of
last (`TOLD`, `GUESSED`, `COLD`, `GROWN`, `EARLIER`) make 25 of the recipe, and five of one rival. What is taken apart
in recycling (`ABLATIONS`, `FAMILY:PIECE`) and what it must beat (`CONTROLS`) change one thing in that recipe; ablations
are not chosen from, all of them are shown. Sources of the methods are in the modules of `recycle_jax.histories`,
`recycle_jax.generators` and `recycle_jax.errors` that hold them.
"""

import dataclasses
import functools

from experiments.comparison.builders import (
    NEAR,
    OWN,
    REACH,
    RELAYED,
    STOP,
    anchored,
    anchored_and_recycled,
    another,
    as_it_is,
    as_it_was,
    at_rate,
    by_itself,
    by_phase,
    carrying,
    cold,
    continued,
    controlled,
    cooled,
    cross_own_domain,
    discrete,
    early,
    even,
    flows_only,
    hierarchical,
    in_recipe,
    is_deterministic,
    one_domain,
    one_step_errors,
    parametrised,
    projected,
    published,
    recycled,
    relayed,
    retrieved,
    sized,
    stale,
    through_codes,
    told,
    told_own,
    tuned,
    unrolled_gradient,
    with_choices,
)
from experiments.comparison.method import METHODS, Method, needs_simulator, needs_world, registered
from experiments.comparison.phases import recycle_with
from experiments.comparison.sanity import copy_last, real
from experiments.comparison.second_looks import average, newest, reconsidered
from experiments.comparison.second_networks import (
    adversarial,
    at_matched_calls,
    corrected,
    corrected_shared,
    denoised,
    kernel,
    recycled_and_washed,
    washed,
)
from recycle_jax import flow_matching as fm
from recycle_jax.errors.bank.draws import Prioritised
from recycle_jax.errors.bank.eviction import Reservoir
from recycle_jax.errors.bank.threshold import AdaptiveThreshold
from recycle_jax.errors.controls import PhaseRandomised, Shuffled
from recycle_jax.errors.one_step.inject import Gates
from recycle_jax.errors.rollout.backward import Backward
from recycle_jax.errors.rollout.references import Recorded
from recycle_jax.histories.anchor import AnchoredHistory
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.corrupt import CorruptedHistory
from recycle_jax.histories.diffusion_forcing import DiffusionForcing
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.histories.pushforward import Pushforward
from recycle_jax.histories.relay import Relay
from recycle_jax.histories.resampling import ResamplingForcing
from recycle_jax.histories.scheduled import ScheduledSampling
from recycle_jax.histories.svi import svi_film, svi_shot
from recycle_jax.histories.unrolled import Unrolled
from recycle_jax.models.outputs import clipped, residual, sigmoid
from recycle_jax.training.phases import Control
from recycle_jax.training.selection import Selection

OURS: dict[str, Method] = {
    "ours=braked": METHODS["recycle"],
    "ours=loose": with_choices(velocity_damping=None, flow_velocity_damping=None),
    "ours=cells": with_choices(cells=2),
}
"""Recycling with three ways to keep rollouts registered to the clip, history of one kind."""

SVI_GATES = Gates(data=0.9, noise=0.01, context=0.9, clean=0.5)

RIVALS: dict[str, Method] = {
    "noise=0.025": tuned(NoiseAugmentation(most=0.025)),
    "noise=0.05": tuned(NoiseAugmentation(most=0.05)),
    "noise=0.1": tuned(NoiseAugmentation(most=0.1)),
    "forcing=1": tuned(DiffusionForcing()),
    "forcing=stabilised": told(DiffusionForcing(), 0.02),
    "forcing=weak,stabilised": told(DiffusionForcing(most=0.2), 0.02),
    "scheduled=0.25": tuned(ScheduledSampling(share=0.25)),
    "scheduled=0.5": tuned(ScheduledSampling(share=0.5)),
    "scheduled=0.5,ramp": tuned(ScheduledSampling(share=0.5, ramp=1000)),
    "pushforward=1": tuned(Pushforward(steps=1)),
    "pushforward=2": tuned(Pushforward(steps=2)),
    "pushforward=4": tuned(Pushforward(steps=4)),
    "unrolled=2": tuned(Unrolled(steps=2, gradient=False)),
    "unrolled=4": tuned(Unrolled(steps=4, gradient=False)),
    "unrolled=8": tuned(Unrolled(steps=8, gradient=False)),
    "unrolled_gradient=2": tuned(unrolled_gradient(2)),
    "unrolled_gradient=4": tuned(unrolled_gradient(4)),
    "unrolled_gradient=4,ramp": tuned(unrolled_gradient(4, ramp=200)),
    "resampling=0.6": Method(run=tuned(ResamplingForcing()).run, refuses=flows_only),
    "resampling=0.2": Method(run=tuned(ResamplingForcing(shift=0.2)).run, refuses=flows_only),
    "resampling=one_pass": Method(run=tuned(ResamplingForcing(one_pass=True)).run, refuses=flows_only),
    "backward=2": recycled(lambda task: Backward(), max_age=2),
    "backward=4": recycled(lambda task: Backward(), max_age=4),
    "backward=8": recycled(lambda task: Backward(), max_age=8),
    "dagger": Method(run=recycled(continued, noise=0.0, capacity=16_384).run, refuses=needs_simulator),
    "relay=2": tuned(Relay(capacity=2048)),
    "relay=8": tuned(Relay(max_age=8, capacity=2048)),
    "relay=32": tuned(Relay(max_age=32, capacity=2048)),
    "corrupt=published": tuned(CorruptedHistory(by_frame=True)),
    "corrupt=weak": tuned(CorruptedHistory(by_frame=True, noise=0.05, min_saturation=0.8, max_saturation=1.2)),
    "discrete=128": discrete(128, 1),
    "discrete=512": discrete(512, 2),
    "context_noise=told": told(NoiseAugmentation(most=0.1), 0.03),
    "context_noise=added": told(NoiseAugmentation(most=0.1), 0.03, 0.03),
    "critic_mmd=0.1": Method(run=kernel(0.1)),
    "critic_mmd=1": Method(run=kernel(1.0)),
    "critic_gan=0.01": Method(run=adversarial(0.01)),
    "critic_gan=0.1": Method(run=adversarial(0.1)),
    "corrected": Method(run=corrected),
    "corrected_shared": Method(run=corrected_shared),
    "washed": Method(run=washed),
    "anchored": another(anchored, AnchoredHistory(inner=TeacherForcing(), reach=REACH)),
    "hierarchical=2": another(hierarchical(2)),
    "hierarchical=4": another(hierarchical(4)),
    "longer_context": another(lambda task: sized(task, context=2 * task.generator.context_frames)),
    "bigger_network": another(lambda task: sized(task, width=3 * task.net.width // 2)),
    "output=sigmoid": another(lambda task: parametrised(task, sigmoid)),
    "output=residual": another(lambda task: parametrised(task, lambda network: clipped(residual(network)))),
    "output=free": another(lambda task: parametrised(task, lambda network: network)),
    "svi_shot": published(svi_shot),
    "svi_film": published(svi_film),
}
"""What recycling is compared with."""

ONE_STEP: dict[str, Method] = {
    "one_step:context": one_step_errors(dataclasses.replace(SVI_GATES, data=0.0, noise=0.0)),
    "one_step:data": one_step_errors(dataclasses.replace(SVI_GATES, context=0.0, noise=0.0)),
    "one_step:noise": one_step_errors(dataclasses.replace(SVI_GATES, data=0.0, context=0.0, noise=0.9)),
    "one_step:exact": one_step_errors(SVI_GATES, target=fm.exact_target),
    "one_step:any_slot": one_step_errors(SVI_GATES, aligned=False),
    "one_step:1": one_step_errors(SVI_GATES, capacity=1),
    "one_step:10": one_step_errors(SVI_GATES, capacity=10),
    "one_step:100": one_step_errors(SVI_GATES, capacity=100),
}
"""The published pieces alone, and with one thing changed."""

IN_DISGUISE = as_it_was(recycled(disguised_rows=1, case_rows=2, case_weight=0.3, repair_prob=0.0), own_level=OWN)
"""Recycling of a network that is told of its own frames, some real history in disguise, cases of less weight."""

PARTS: dict[str, Method] = {
    "recorded": recycled(lambda task: Recorded(gate=registered(task).gate)),
    "recorded:young": recycled(lambda task: Recorded(gate=registered(task).gate), max_age=4),
    "denoised": Method(run=denoised),
    "retrieved": Method(run=retrieved),
    "reconsidered": Method(run=reconsidered(average)),
    "reconsidered:newest": Method(run=reconsidered(newest)),
    "reconsidered:frozen": Method(run=reconsidered(None)),
    "ours:phase": recycled(by_phase),
    "ours:phase,free": recycled(functools.partial(by_phase, reanchor_rate=0.0)),
    "ours:washed": Method(run=recycled_and_washed),
    "recycle_continued": Method(run=recycled(continued).run, refuses=needs_simulator),
    "projected": Method(run=recycled(projected).run, refuses=needs_world),
    "ours:free_chains": with_choices(reanchor_rate=0.0),
    "ours:dense": with_choices(cells=8),
    "ours:unmended": recycled(repair_prob=0.0),
    "ours:no_noise": recycled(noise=0.0),
    "ours:young": recycled(max_age=4),
    "ours:old": recycled(max_age=96),
    "ours:paced": recycled(paced=True),
    "ours:cross_sample": recycled(case_rows=0, error_rows=1),
    "ours:cross_own_domain": Method(run=cross_own_domain, refuses=one_domain),
    "ours:more_clean": recycled(clean_rows=3),
    "ours:more_cases": recycled(case_rows=3),
    "ours:light_cases": recycled(case_weight=0.3),
    "ours:beside": recycled(relay_rows=2),
    "ours:few_cases": recycled(capacity=64),
    "ours:rare_harvests": recycled(harvest_every=200, harvest_steps=40),
    "ours:reservoir": recycled(replacement=Reservoir()),
    "ours:prioritised": recycled(rule=Prioritised()),
    "ours:threshold": recycled(threshold=AdaptiveThreshold(level=0.25)),
    "ours:stopped": Method(run=lambda job: recycle_with(job, registered(job.task), "recycle", stop=STOP)),
}
"""`ours:slow` with one thing changed."""

ABLATIONS: dict[str, Method] = {
    **ONE_STEP,
    "anchored:recycled": Method(run=anchored_and_recycled),
    "corrected_shared:matched": Method(run=at_matched_calls(corrected_shared), refuses=is_deterministic),
    **{name: in_recipe(method) for name, method in PARTS.items()},
    "ours:told": IN_DISGUISE,
    "ours:before": as_it_was(METHODS["recycle"]),
    "ours:before,unmended": as_it_was(recycled(repair_prob=0.0)),
    "ours:late": in_recipe(METHODS["recycle"], begins=1.0),
    "ours:warm": Method(run=in_recipe(METHODS["recycle"], temperature=1.0).run, refuses=is_deterministic),
    "ours:near": in_recipe(METHODS["recycle"], usual=NEAR),
    "ours:discrete": in_recipe(METHODS["recycle"], wrap=through_codes),
    "ours:trusted": in_recipe(recycled(trust=0.4)),
    "ours:fast": at_rate(in_recipe(METHODS["recycle"])),
    "ours:fast,trusted": at_rate(in_recipe(recycled(trust=0.4))),
    "ours:alike,fast": relayed(recycled(trust=None)),
    "ours:old,fast": relayed(recycled(max_age=96)),
    "ours:scaled": relayed(recycled(strongest=2.0)),
    "ours:carried,fast": relayed(recycled(carrying(0.8))),
    "ours:carried_whole,fast": relayed(recycled(carrying(1.0))),
    "ours:unmended,fast": relayed(recycled(repair_prob=0.0)),
    "ours:young,fast": relayed(recycled(max_age=8)),
    "ours:within,fast": as_it_is(recycled(gradient_normalized=False)),
    "ours:within,unmended,fast": as_it_is(recycled(gradient_normalized=False, repair_prob=0.0)),
    "ours:within_more,fast": as_it_is(recycled(gradient_normalized=False, max_displacement_px=0.8)),
    "ours:no_noise,even,fast": as_it_is(recycled(noise=0.0)),
    "ours:unmended,even,fast": as_it_is(recycled(repair_prob=0.0)),
    "ours:dense,even,fast": as_it_is(with_choices(cells=8)),
    "ours:corrupted,even,fast": as_it_is(recycled(corrupted=CorruptedHistory())),
    "ours:tinted,even,fast": as_it_is(recycled(corrupted=CorruptedHistory(noise=0.05))),
    "ours:even,fast": relayed(recycled(gradient_normalized=True)),
    "ours:relayed,fast": relayed(METHODS["recycle"]),
    "ours:within,later_fast": relayed(recycled(max_displacement_px=0.4, trust=None)),
    "ours:no_noise,fast": relayed(recycled(noise=0.0)),
    "ours:early,fast": relayed(METHODS["recycle"], first=TeacherForcing()),
    "ours:guessed,fast": relayed(recycled(guessed=0.5)),
    "ours:beside,fast": relayed(recycled(relay_rows=2)),
    "ours:last,fast": at_rate(in_recipe(METHODS["recycle"], usual=RELAYED, begins=0.99)),
    "ours:slow": in_recipe(METHODS["recycle"]),
    "ours:early": in_recipe(METHODS["recycle"], first=TeacherForcing()),
    "ours:early,cool": Method(
        run=in_recipe(METHODS["recycle"], temperature=0.5, first=TeacherForcing()).run, refuses=is_deterministic
    ),
}
"""All of which are shown, none chosen. The recipe was taken apart before its rate was asked for: what stands here is
`ours:slow` with one thing changed, unless the id says more."""

CONTROLS: dict[str, Method] = {
    "phase_randomised": controlled(lambda job: Control(error_transform=PhaseRandomised())),
    "phase_randomised:half": controlled(lambda job: Control(error_transform=PhaseRandomised(amplitude=0.5))),
    "phase_randomised:twice": controlled(lambda job: Control(error_transform=PhaseRandomised(amplitude=2.0))),
    "shuffled": controlled(lambda job: Control(error_transform=Shuffled())),
    "shuffled:half": controlled(lambda job: Control(error_transform=Shuffled(amplitude=0.5))),
    "stale": controlled(stale),
    "stale:before,unmended": controlled(stale, as_it_was, repair_prob=0.0),
    "foreign": controlled(lambda job: Control(rolls_out=job.base_of(job.seed + 1000).params)),
    "phase_randomised:fast": controlled(lambda job: Control(error_transform=PhaseRandomised()), relayed),
    "shuffled:fast": controlled(lambda job: Control(error_transform=Shuffled()), relayed),
    "stale:fast": controlled(stale, relayed),
    "phase_randomised:even,fast": controlled(lambda job: Control(error_transform=PhaseRandomised()), as_it_is),
    "shuffled:even,fast": controlled(lambda job: Control(error_transform=Shuffled()), as_it_is),
    "stale:even,fast": controlled(stale, as_it_is),
    "phase_randomised:half,even,fast": controlled(
        lambda job: Control(error_transform=PhaseRandomised(amplitude=0.5)), as_it_is
    ),
    "phase_randomised:twice,even,fast": controlled(
        lambda job: Control(error_transform=PhaseRandomised(amplitude=2.0)), as_it_is
    ),
    "foreign:even,fast": controlled(lambda job: Control(rolls_out=job.base_of(job.seed + 1000).params), as_it_is),
}
"""What recycling must beat, or own errors do not matter; random phases of three amplitudes, none chosen. Of the recipe
itself where the id says even, of the one before its chains ended where it says fast alone, else of `ours:slow`."""

BYSTANDERS: dict[str, Method] = {
    "copy_last": Method(run=copy_last),
    "real": Method(run=real, refuses=needs_world),
}
"""A still picture and real video, to see that the judge knows them."""

TOLD: dict[str, Method] = {
    "ours=told": as_it_was(recycled(case_weight=0.3, repair_prob=0.0), own_level=OWN),
    "ours=told,disguised": IN_DISGUISE,
    "pushforward=1,told": told_own(RIVALS["pushforward=1"]),
}
"""The recipe with a network that is told of its own frames, first without and then with real history in disguise.
Thought of last, and more settings than four; so the best of the rivals that were done by then is told too."""

GUESSED: dict[str, Method] = {
    "ours=mended": as_it_was(recycled(repair_prob=0.5)),
    "ours=mended,rarely": as_it_was(recycled(repair_prob=0.25)),
    "ours=mended,mostly": as_it_was(recycled(repair_prob=0.75)),
    "ours=guessed": as_it_was(recycled(guessed=0.5, repair_prob=0.0)),
    "ours=mended,guessed": as_it_was(recycled(repair_prob=0.5, guessed=0.5)),
}
"""The recipe with errors that come and go from frame to frame, in cases, in real history, and in both. Thought of when
scheduled sampling had kept 95 % of the rollouts of the predictor's ball, more than the recipe."""

COLD: dict[str, Method] = {
    "ours=loose,cold": as_it_was(recycled(repair_prob=0.0), temperature=0.0, twin="ours=loose"),
    "ours=mended,cold": as_it_was(recycled(repair_prob=0.5), temperature=0.0, twin="ours=mended"),
}
"""The recipe with a flow that draws nothing, in worlds whose next frame follows from the context."""

GROWN: dict[str, Method] = {
    "ours=mended,chosen": as_it_was(recycled(repair_prob=0.5), selection=Selection()),
    "ours=mended,grown": as_it_was(recycled(repair_prob=0.5), grows=True),
    "ours=mended,grown,scaled": as_it_was(recycled(repair_prob=0.5, strongest=2.0), grows=True),
}
"""The recipe with the one of several averages that lasts longest in a few rollouts of its own; with one that forgets
where the phase began; and with errors of all sizes besides."""

EARLIER: dict[str, Method] = {
    "ours=mended,cold,early": in_recipe(recycled(repair_prob=0.5), first=TeacherForcing()),
    "ours=mended,cold,relayed": in_recipe(recycled(repair_prob=0.5)),
    "ours=mended,cold,relayed,near": in_recipe(recycled(repair_prob=0.5), usual=NEAR),
    "ours=mended,cold,relayed,clean": in_recipe(recycled(repair_prob=0.5, clean_rows=3)),
    "ours=mended,cold,relayed,told": in_recipe(
        recycled(repair_prob=0.5, disguised_rows=1, case_rows=2, case_weight=0.3), own_level=OWN
    ),
    "ours=mended,cold,relayed,corrupted": in_recipe(
        recycled(repair_prob=0.5, corrupted=CorruptedHistory(by_frame=True))
    ),
    "ours=mended,cold,relayed,discrete": in_recipe(recycled(repair_prob=0.5), wrap=through_codes),
    "ours=mended,cold,relayed,trusted": in_recipe(recycled(repair_prob=0.5, trust=0.4)),
    "ours=mended,cold,relayed,trusted,fast": at_rate(in_recipe(recycled(repair_prob=0.5, trust=0.4))),
    "ours=mended,cold,relayed,trusted,later_fast": relayed(METHODS["recycle"]),
    "ours=mended,cold,within,even,fast": as_it_is(METHODS["recycle"]),
    "scheduled_early": early(cold(RIVALS["scheduled=0.5"])),
    "forcing_early": early(cold(RIVALS["forcing=weak,stabilised"])),
    "relay_early": early(cold(RIVALS["relay=8"])),
    "corrupt_early": early(cold(RIVALS["corrupt=published"])),
    "relay_always": early(cold(RIVALS["relay=8"]), first=RELAYED.first),
}
"""The recipe from a B of half the updates on, for the same total cost, with a flow that draws nothing; the same after a
relay in B's place, with cases of up to .03 from the clip, of up to .01 only, with three clean rows a case, with a
network that is told of its own frames, with clean rows that are corrupted, with a history made of codes, with far cases
of less weight, and with these at a higher rate, all of it or recycling alone; then the recipe, from a B of half the
updates at its rate on, with chains that end and even rows. Then the four best
rivals early and cold, each as a remedy of its own beside the setting chosen for it, and the relay that is there from
the first update on, as in the recipe."""

FASTER: dict[str, Method] = {
    "b:fast": at_rate(METHODS["b"]),
    "b_plus:fast": at_rate(METHODS["b_plus"]),
    "b_plus:cold": cooled(METHODS["b_plus"], temperature=0.0),
    "b_plus:cold,fast": at_rate(cooled(METHODS["b_plus"], temperature=0.0)),
    "noise:fast": at_rate(cold(RIVALS["noise=0.05"])),
    "pushforward:fast": at_rate(cold(RIVALS["pushforward=1"])),
    "critic_mmd:fast": at_rate(cold(RIVALS["critic_mmd=1"])),
    "discrete:fast": at_rate(cold(RIVALS["discrete=512"])),
    "relay_early:fast": at_rate(EARLIER["relay_early"]),
    "relay_always:fast": at_rate(EARLIER["relay_always"]),
    "relay_old:fast": at_rate(early(cold(RIVALS["relay=32"]))),
    "scheduled_early:fast": at_rate(EARLIER["scheduled_early"]),
    "corrupt_early:fast": at_rate(EARLIER["corrupt_early"]),
    "corrupt_early:history,fast": at_rate(early(cold(tuned(CorruptedHistory())))),
    "forcing_early:fast": at_rate(EARLIER["forcing_early"]),
    "scheduled_early:even,fast": at_rate(early(cold(even(ScheduledSampling(share=0.5))))),
    "relay_early:even,fast": at_rate(early(cold(even(Relay(max_age=8, capacity=2048))))),
}
"""B, B+ and the best rivals, early where that helped them, at the rate that was found for ours; all but B and B+ draw
nothing, as ours, and B+ in two rows of its own. Each is a remedy of its own. The two best have their rows weighed
evenly besides, as ours may. Histories are corrupted as published, one kind a history, where the id says so; elsewhere
frame by frame."""

COOLED: dict[str, Method] = {
    "ours=loose,cooled": by_itself(OURS["ours=loose"], twin="ours=loose"),
    "cooled=0.5": cooled(METHODS["b_plus"]),
    "cooled=0": cooled(METHODS["b_plus"], temperature=0.0),
    **{
        f"{name},cooled": cooled(RIVALS[name], twin=name)
        for name in (
            "noise=0.05",
            "pushforward=2",
            "unrolled=4",
            "unrolled_gradient=4",
            "scheduled=0.5",
            "forcing=weak,stabilised",
            "resampling=0.2",
            "relay=8",
        )
    },
}
"""A fourth setting for the recipe and for each rival that has three: its flow samples at half the temperature. It was
thought of when the first cells of the flow's ball had been seen, so all get it."""

REMEDIES: dict[str, Method] = {
    "b": METHODS["b"],
    "b_plus": METHODS["b_plus"],
    **OURS,
    **RIVALS,
    **COOLED,
    **TOLD,
    **GUESSED,
    **COLD,
    **GROWN,
    **EARLIER,
    **FASTER,
    **ABLATIONS,
    **CONTROLS,
    **BYSTANDERS,
}


def family_of(name: str) -> str:
    """`FAMILY` of `FAMILY=SETTING`."""
    return name.partition("=")[0]
