"""The methods of the comparison in field terms: name, one sentence, group and order, and their looks in plots.

Recycling has four recipes, each with what it changed over the one before:

    v0       from the whole of B, flows sampled at half the temperature, all at B's learning rates
    v1       from a relay in place of the second half of B, flows at temperature 0, recycling at lr=1e-3
    v2       recycling at lr=8e-3; cases far from the clip weigh less (Huber)
    (final)  lr=8e-3 from the first update, chains end where the clip no longer explains them, gradient-normalised loss
"""

from experiments.comparison.label_texts import TEXTS
from recycle_jax.report.labels import INK, Label, Labels

LOOKS = {
    "truth": (INK, ""),
    "b": ("#D55E00", "o"),
    "b_plus": ("#CC79A7", "s"),
    "noise": ("#E69F00", "^"),
    "pushforward": ("#56B4E9", "v"),
    "recycle": ("#009E73", "D"),
    "recycle_continued": ("#0072B2", "P"),
    "svi_shot": ("#999933", "X"),
    "svi_film": ("#AA6644", "p"),
    "ours": ("#117733", "*"),
    "oracle": ("#777777", "h"),
}
"""Colour and marker of the methods that plots show most often."""

# As many tints and marks as share no factor, so that each pair of them is used before one comes again: 143 looks.
_TINTS = (
    *("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#997700", "#6699CC", "#994455"),
    *("#882255", "#44AA99"),
)
_MARKS = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "h", "p", "d", "H")
_OTHERS = [name for _, members in TEXTS for name, _, _ in members if name not in LOOKS]
_LOOKS = LOOKS | {name: (_TINTS[i % len(_TINTS)], _MARKS[i % len(_MARKS)]) for i, name in enumerate(_OTHERS)}

METHODS = {
    name: Label(
        name=shown,
        about=about,
        group=group,
        colour=_LOOKS[name][0],
        marker=_LOOKS[name][1],
        variant=":" in name,
    )
    for group, members in TEXTS
    for name, shown, about in members
}

LABELS = Labels(known=METHODS, always=("b", "b_plus", "recycle", "ours"))
"""What is given to the report."""
