"""The methods: what readers call them, and the one colour and marker that each has in every plot.

Colours are Okabe and Ito's, which stay apart for colour-blind readers; markers tell methods apart in print.
"""

import dataclasses
from collections.abc import Iterable

INK = "#222222"
"""Colour of text, axes and real video in plots; a page in dark mode replaces it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """How a method is shown.

    Attributes:
        name: for tables and legends.
        brief: for labels of a few letters' room, such as those in a video.
        colour: `#rrggbb`.
        marker: of matplotlib.
        about: what it does, one sentence; empty where nothing is known.
    """

    name: str
    brief: str
    colour: str
    marker: str
    about: str = ""


METHODS = {
    "truth": Method(name="real video", brief="truth", colour=INK, marker="", about="What the world shows."),
    "b": Method(
        name="teacher forcing (B)",
        brief="baseline B",
        colour="#D55E00",
        marker="o",
        about="The baseline: trained on clean history only.",
    ),
    "b_plus": Method(
        name="teacher forcing at equal compute (B+)",
        brief="baseline B+",
        colour="#CC79A7",
        marker="s",
        about="B trained on until it has cost as much as the recycled generator.",
    ),
    "noise": Method(
        name="noise augmentation",
        brief="noise",
        colour="#E69F00",
        marker="^",
        about="Trained on history with random noise of tuned strength added.",
    ),
    "pushforward": Method(
        name="pushforward",
        brief="pushforward",
        colour="#56B4E9",
        marker="v",
        about="Trained on history that it has just generated itself, with no bank of errors.",
    ),
    "recycle": Method(
        name="error recycling",
        brief="recycled",
        colour="#009E73",
        marker="D",
        about="Trained on its own stored mistakes, with real video moved onto them as target; no simulator.",
    ),
    "recycle_continued": Method(
        name="error recycling with simulator",
        brief="with simulator",
        colour="#0072B2",
        marker="P",
        about="The same with the simulator's own continuation as target: needs a simulator.",
    ),
    "svi_shot": Method(
        name="SVI, shot preset",
        brief="SVI shot",
        colour="#999933",
        marker="X",
        about="Error recycling as the Stable Video Infinity scripts do it, one-shot preset.",
    ),
    "svi_film": Method(
        name="SVI, film preset",
        brief="SVI film",
        colour="#AA6644",
        marker="p",
        about="Error recycling as the Stable Video Infinity scripts do it, film preset.",
    ),
    "ours": Method(
        name="error recycling, final recipe",
        brief="ours",
        colour="#117733",
        marker="*",
        about="The final recipe of error recycling.",
    ),
    "oracle": Method(
        name="oracle",
        brief="oracle",
        colour="#777777",
        marker="h",
        about="The simulator itself, given the same history as the generators: the ceiling.",
    ),
}
_MORE = (
    ("forcing", "Diffusion Forcing", "Trained on history with noise of its own strength on every frame."),
    ("scheduled", "scheduled sampling", "Trained on history of which some frames are its own one-step guesses."),
    ("unrolled", "unrolled", "Trained on all steps of its own short rollouts, without gradient through time."),
    ("unrolled_gradient", "unrolled, gradient", "The same with gradient through time."),
    ("resampling", "Resampling Forcing", "Trained on history that it has partly noised and sampled again itself."),
    ("backward", "backward aggregation", "Trained on its own rollouts played backwards, towards their real start."),
    ("dagger", "DAgger", "Trained on its own stored rollouts, none forgotten, with the simulator's labels."),
    ("critic_mmd", "Self Forcing, MMD", "Trained so that its rollouts are distributed as real windows are, by MMD."),
    ("critic_gan", "Self Forcing, GAN", "The same by a small discriminator."),
    ("scheduled_early", "scheduled sampling, early", "From a half-trained B on, its flow drawing nothing."),
    ("forcing_early", "Diffusion Forcing, early", "From a half-trained B on, its flow drawing nothing."),
    ("corrupt_early", "corrupted history, early", "From a half-trained B on, its flow drawing nothing."),
    ("relay_early", "relay, early", "From a half-trained B on, its flow drawing nothing."),
    ("b:fast", "B, faster", "B at a learning rate of .008 from the first update on, in place of .002 and .001."),
    ("b_plus:fast", "B+, faster", "B+ at a learning rate of .008 from the first update on."),
    ("b_plus:cold", "B+, cold", "B+ whose flow draws nothing."),
    ("b_plus:cold,fast", "B+, cold, faster", "B+ at a learning rate of .008, its flow drawing nothing."),
    ("noise:fast", "noise augmentation, faster", "Noise augmentation at .008, its flow drawing nothing."),
    ("pushforward:fast", "pushforward, faster", "Pushforward at .008, its flow drawing nothing."),
    ("critic_mmd:fast", "Self Forcing, MMD, faster", "Self Forcing at .008, its flow drawing nothing."),
    ("discrete:fast", "discretised history, faster", "History made of codes at .008, its flow drawing nothing."),
    ("relay_early:fast", "relay, early, faster", "The early relay at a learning rate of .008."),
    ("relay_always:fast", "relay from scratch, faster", "The relay from the first update on, at .008."),
    (
        "relay_old:fast",
        "relay, early, ages to 32, faster",
        "The same of the early relay, its histories up to 32 passes old.",
    ),
    (
        "scheduled_early:fast",
        "scheduled sampling, early, faster",
        "Early scheduled sampling at a learning rate of .008.",
    ),
    ("forcing_early:fast", "Diffusion Forcing, early, faster", "Early Diffusion Forcing at a learning rate of .008."),
    (
        "corrupt_early:fast",
        "corrupted history, early, faster",
        "Early corrupted history at .008, each frame corrupted in a way of its own.",
    ),
    (
        "corrupt_early:history,fast",
        "corrupted history, one kind a history, early, faster",
        "The same with one way for all frames of a history, as published.",
    ),
    (
        "scheduled_early:even,fast",
        "scheduled sampling, early, faster, even rows",
        "A displacement costs alike in all rows.",
    ),
    ("relay_early:even,fast", "relay, early, faster, even rows", "A displacement costs the same in all rows."),
    ("relay_always", "relay from scratch", "Relay from the first update on, its flow drawing nothing."),
    ("relay", "relay", "Trained on history made of what earlier training steps predicted, at no cost."),
    ("corrupt", "corrupted history", "Trained on history that is noised, blurred and tinted."),
    ("discrete", "discretised history", "History made of codes of a codebook, in training and while generating."),
    ("cooled", "cooler sampling", "B+ that samples its flow from weaker noise."),
    ("context_noise", "context noise", "Noise on the history while generating too, its strength told."),
    ("anchored", "anchor alone", "A clean early frame stays in the context; nothing is recycled."),
    ("hierarchical", "keyframes first", "Keyframes first, then the frames between them."),
    ("corrected", "separate corrector", "A second network, trained on banked errors, cleans every frame."),
    ("corrected_shared", "shared corrector", "The same, trained on the banked errors of other worlds and generators."),
    (
        "corrected_shared:matched",
        "shared corrector, same calls",
        "The same with one Euler step less, so that a step costs the same.",
    ),
    ("washed", "washed", "A denoiser of windows cleans every frame."),
    ("longer_context", "longer context", "Twice the frames of history, trained from scratch."),
    ("bigger_network", "bigger network", "Half as wide again, trained from scratch for the same compute."),
    ("output", "another output", "Teacher forcing with another parametrisation of the frame."),
    ("one_step", "one-step errors", "Errors of single training steps put back, nothing rolled out."),
    ("one_step:context", "one-step errors, context only", "Published gates, but errors on the history alone."),
    ("one_step:data", "one-step errors, data only", "The same on the frame that is denoised alone."),
    ("one_step:noise", "one-step errors, noise only", "On the noise that it is denoised from alone, as often."),
    ("one_step:exact", "one-step errors, exact target", "The velocity that leads back from injected errors exactly."),
    ("one_step:any_slot", "one-step errors, any slot", "Errors of any noise level, in place of the row's own."),
    ("one_step:1", "one-step errors, 1 a slot", "A bank of one error a noise level."),
    ("one_step:10", "one-step errors, 10 a slot", "A bank of ten errors a noise level."),
    ("one_step:100", "one-step errors, 100 a slot", "A bank of a hundred errors a noise level."),
    ("recorded", "recycling, recorded target", "The recorded clip as target, however displaced the rollout."),
    ("recorded:young", "recycling, recorded target, ages to 4", "The same with errors of at most four steps."),
    ("denoised", "recycling, learned target", "A denoiser of windows, trained on real video, gives the target."),
    (
        "retrieved",
        "recycling, nearest window",
        "The nearest of 4,096 real windows, moved onto the rollout, is the target.",
    ),
    ("projected", "recycling, projected target", "What was generated, made valid by the simulator, is the target."),
    (
        "reconsidered",
        "recycling, own second look",
        "The average of the network itself, looking through noise, gives the target.",
    ),
    ("reconsidered:newest", "recycling, newest second look", "The same by the network as it is in training."),
    ("reconsidered:frozen", "recycling, frozen second look", "The same by the network as it was before recycling."),
    (
        "ours:phase",
        "ours, phase correlation",
        "Displacement of the whole frame, of any size, found by phase correlation.",
    ),
    ("ours:phase,free", "ours, phase correlation, free", "The same, and rollouts are never moved back."),
    ("ours:washed", "ours, and washed", "A denoiser of windows cleans every frame of the recycled generator besides."),
    ("anchored:recycled", "anchor and recycling", "A clean early frame stays in a recycled generator's context."),
    ("ours:told", "ours, told what is own", "The network is told which history is its own; cases weigh less."),
    ("ours:light_cases", "ours, light cases", "A case weighs .3 of a clean row in the loss."),
    ("ours:dense", "ours, dense flow", "Displacement fitted in 8 × 8 cells of the frame, as dense optical flow does."),
    ("ours:warm", "ours, full temperature", "The flow samples from the noise that it was trained on."),
    ("ours:free_chains", "ours, chains run free", "Rollouts are never moved back towards the clip."),
    ("ours:unmended", "ours, no frame mended", "All frames of a replayed history are the rollout's own."),
    ("ours:no_noise", "ours without noise", "No light noise on the history besides."),
    ("ours:young", "ours, ages to 4", "Errors of at most four steps."),
    ("ours:cool", "ours, half the temperature", "The flow is cooled whether or not the next frame can be foretold."),
    ("ours:near", "ours, near cases only", "Cases of up to .01 from the clip, in place of .03, are replayed."),
    ("ours:discrete", "ours, history of codes", "The recipe for a generator that sees its history through 512 codes."),
    (
        "ours:trusted",
        "ours, far cases weigh less",
        "A case farther from the clip moved onto it than .4 pixels make a picture weighs less, as in Huber's loss.",
    ),
    ("ours:fast", "ours, all of it faster, one weight", "Its relay at a rate of .008 too, all cases of one weight."),
    (
        "ours:alike,fast",
        "ours, all cases of one weight",
        "The relayed recipe, its far cases as heavy as near ones.",
    ),
    ("ours:scaled", "ours, errors scaled", "That with errors scaled by U(0, 2), each frame for itself."),
    ("ours:carried,fast", "ours, relayed, speeds carried", "Its targets go on at four fifths of the context's speed."),
    ("ours:carried_whole,fast", "ours, relayed, speeds carried whole", "Targets go on at the context's own speed."),
    ("ours:unmended,fast", "ours, relayed, no frame mended", "That with all frames of a history its own."),
    ("ours:young,fast", "ours, relayed, ages to 8", "That with errors of at most eight steps."),
    (
        "ours:within,fast",
        "ours, rows not even",
        "The recipe with all rows weighed alike.",
    ),
    ("ours:within,unmended,fast", "ours, rows not even, no frame mended", "The same with all frames its own."),
    (
        "ours:relayed,fast",
        "ours, relayed",
        "From a relay at .002; chains go on where the clip explains them no more, and such cases weigh less.",
    ),
    ("ours:no_noise,even,fast", "ours as it is, without noise", "The recipe with no history noised."),
    ("ours:unmended,even,fast", "ours as it is, no frame mended", "The recipe with all frames of a case its own."),
    ("ours:dense,even,fast", "ours as it is, dense", "The recipe with every part of a frame moved on its own."),
    (
        "ours:tinted,even,fast",
        "ours as it is, real history tinted",
        "The recipe with real history tinted or blurred, and noised as lightly as ever.",
    ),
    (
        "ours:corrupted,even,fast",
        "ours as it is, real history corrupted",
        "The recipe with real history noised, blurred or tinted, one kind a history, in place of light noise.",
    ),
    ("ours:even,fast", "ours, relayed, even rows", "That with rows weighed as the recipe's."),
    (
        "ours:within_more,fast",
        "ours, rows not even, chains end later",
        "And chains that end at .8 pixels in place of .4.",
    ),
    ("ours:within,later_fast", "ours, relayed, chains that end", "From a relay at .002, all rows weighed alike."),
    ("ours:no_noise,fast", "ours, relayed, without noise", "That without noise on any history."),
    ("ours:early,fast", "ours, relayed, no relay first", "That from half of B, trained by teacher forcing."),
    ("ours:guessed,fast", "ours, relayed, own guesses", "Half of real history is the network's own guess of it."),
    ("ours:old,fast", "ours, relayed, ages to 96", "That with errors of up to 96 steps."),
    ("ours:beside,fast", "ours, relayed, a relay beside it", "That with half of the rows a relay's."),
    (
        "ours:last,fast",
        "ours, relayed, last of all",
        "A relay at a rate of .008 for as long as B, then its recycling.",
    ),
    ("ours:fast,trusted", "ours, all of it faster", "Its relay at a rate of .008 too."),
    ("ours:slow", "ours, slower", "Recycling at a rate of .001 in place of .008, all cases of one weight."),
    ("ours:early", "ours, no relay first", "Recycling begins from half of B, trained by teacher forcing."),
    ("ours:early,cool", "ours, no relay first, half the temperature", "The same, its flow at half the temperature."),
    ("ours:late", "ours, from the whole B on", "Recycling begins when B is done, as with a generator that is there."),
    ("ours:late,unmended", "ours, from the whole B on, no frame mended", "The same with all frames the rollout's own."),
    ("ours:late,cool", "ours, from the whole B on, half the temperature", "The same, none mended, its flow cooled."),
    ("ours:before", "ours, as it was", "From the whole B on, with half of a flow's temperature."),
    (
        "ours:before,unmended",
        "ours, as it was, no frame mended",
        "The same, replayed with the rollout's own frames only.",
    ),
    ("ours:old", "ours, ages to 96", "Errors of up to 96 steps."),
    ("ours:paced", "ours, paced ages", "Errors grow older as the generator bears it, from one step on."),
    ("ours:more_clean", "ours, three clean rows a case", "A quarter of the rows are cases."),
    ("ours:more_cases", "ours, three cases a clean row", "Three quarters of the rows are cases."),
    ("ours:beside", "ours, a relay beside it", "Half of the rows are a relay's, the others half clean and half cases."),
    ("ours:reservoir", "ours, reservoir", "Old cases give way at random, none sooner than others."),
    ("ours:prioritised", "ours, largest errors first", "Cases are drawn in proportion to their error."),
    ("ours:threshold", "ours, large errors only", "Errors below a quantile of their domain are not banked."),
    ("ours:stopped", "ours, stopped by itself", "Recycling ends where a round no longer pays."),
    ("ours:cross_sample", "ours, errors on other clips", "Errors on other clips, whose future stays the target."),
    ("ours:cross_own_domain", "ours, errors within domains", "Errors on other clips of the same domain only."),
    ("ours:few_cases", "ours, 64 cases", "A bank of 64 cases."),
    ("ours:rare_harvests", "ours, rare harvests", "As many rollout steps, in a tenth of the harvests."),
    ("phase_randomised", "control: random phases", "Errors of the same spectrum and colours, without their shape."),
    ("phase_randomised:half", "control: random phases, halved", "The same at half the size."),
    ("phase_randomised:twice", "control: random phases, doubled", "The same at twice the size."),
    ("phase_randomised:fast", "control: random phases, relayed", "The same of the recipe before its chains ended."),
    (
        "phase_randomised:even,fast",
        "control: random phases, as it is",
        "The same of the recipe as it is, with its rate.",
    ),
    (
        "phase_randomised:half,even,fast",
        "control: random phases, halved, as it is",
        "The same at half the size.",
    ),
    (
        "phase_randomised:twice,even,fast",
        "control: random phases, doubled, as it is",
        "The same at twice the size.",
    ),
    ("shuffled", "control: shuffled", "Errors of other clips in place of a clip's own."),
    ("shuffled:half", "control: shuffled, halved", "The same at half the size."),
    ("shuffled:fast", "control: shuffled, relayed", "The same of the recipe before its chains ended."),
    ("shuffled:even,fast", "control: shuffled, as it is", "The same of the recipe as it is, with its rate."),
    ("stale", "control: stale bank", "The first rounds' errors, never refreshed."),
    ("stale:fast", "control: stale bank, relayed", "The same of the recipe before its chains ended."),
    ("stale:even,fast", "control: stale bank, as it is", "The same of the recipe as it is, with its rate."),
    ("stale:before,unmended", "control: stale, as it was", "The same of the recipe as it was, without mended frames."),
    ("foreign", "control: another model's", "The errors of another model's rollouts."),
    ("foreign:even,fast", "control: another model's, as it is", "The same of the recipe as it is, with its rate."),
    ("copy_last", "still picture", "The last real frame for ever; it must leave the bands at once."),
    ("real", "real video", "The simulator run on from the same start; it must stay inside the bands."),
)
# As many tints and marks as share no factor, so that each pair of them is used before one comes again: 143 looks.
_TINTS = (
    *("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#997700", "#6699CC", "#994455"),
    *("#882255", "#44AA99"),
)
_MARKS = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "h", "p", "d", "H")
METHODS |= {
    name: Method(
        name=shown,
        brief=shown,
        colour=_TINTS[place % len(_TINTS)],
        marker=_MARKS[place % len(_MARKS)],
        about=about,
    )
    for place, (name, shown, about) in enumerate(_MORE)
}

_SPARE = tuple(zip(("#8C6BB1", "#66828F", "#B08B5B", "#5B8C7B"), ("<", ">", "d", "H"), strict=True))


def known_methods(ids: Iterable[str]) -> dict[str, Method]:
    """Returns how each method is shown, in the order in which methods are listed everywhere.

    `METHOD+SHARE` is a method that spent that share of B's cost beyond B, in the colour of the method. A method that
    has no entry here is shown under its own id, with a spare colour and marker.
    """
    present = set(ids)
    strangers = sorted(name for name in present if family(name) not in METHODS)
    spare = {name: _SPARE[place % len(_SPARE)] for place, name in enumerate(strangers)}
    return {name: _shown(name, spare) for name in sorted(present, key=rank)}


def family(name: str) -> str:
    """Returns `METHOD` of `METHOD` and of `METHOD+SHARE`."""
    return name.partition("+")[0]


def rank(name: str) -> tuple[int, str]:
    """Returns what methods are sorted by: known ones in their usual order, then the others by name."""
    usual = list(METHODS)
    return (usual.index(family(name)) if family(name) in METHODS else len(usual), name)


def _shown(name: str, spare: dict[str, tuple[str, str]]) -> Method:
    if name in METHODS:
        return METHODS[name]
    if family(name) in METHODS:
        known, share = METHODS[family(name)], name.partition("+")[2]
        brief = f"{known.brief}, {share}"
        return dataclasses.replace(known, name=f"{known.name}, {share} × B on top", brief=brief, about="")
    colour, marker = spare[name]
    return Method(name=readable(name), brief=readable(name), colour=colour, marker=marker)


def readable(name: str) -> str:
    """Returns an id as words."""
    return name.replace("_", " ")
