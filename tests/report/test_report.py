"""The report as a whole: what a reader gets, whatever the result file lacks."""

import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from recycle_jax.io.video import read_video
from recycle_jax.report import page, plots
from recycle_jax.report.answer import answer, comparison_grid
from recycle_jax.report.build import CostCurve, Media, Video, build_report
from recycle_jax.report.filmstrips import Filmstrip

SECTIONS = ["results", "drift", "survival", "filmstrips", "video", "wrong", "cost", "measured", "glossary"]
SECTIONS += ["reproduce"]
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """Collects ids, addresses and text, and checks that every tag is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.addresses, self.words, self.open = [], [], [], []
        self.feed(text)
        assert not self.open, f"tags left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if tag == "section" else []
        self.addresses += [attrs[key] for key in ("src", "href", "xlink:href") if key in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "path"):
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def media():
    rng = np.random.default_rng(0)
    clips = {name: rng.uniform(-1, 1, (6, 8, 8, 3)).astype("float32") for name in ("truth", "b", "recycle")}
    return Media(
        filmstrips=[Filmstrip(title="balls", numbers=[1, 4, 16, 64, 256, 1024], rows=clips)],
        videos=[Video(name="side_by_side", title="balls", columns=clips, scale=4)],
        cost_curves=[
            CostCurve(title="balls", points={"recycle": [(1.1, 64.0, 32.0, 96.0), (1.4, 512.0, 300.0, 700.0)]})
        ],
    )


@pytest.fixture(scope="module")
def folder(results, media, tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    build_report(results, path, media, console=Console(file=io.StringIO()))
    return path


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text()


def test_the_page_has_every_section_and_closes_every_tag(html):
    assert Reader(html).ids == SECTIONS


def test_the_page_fetches_nothing(html):
    assert all(address.startswith(("#", "data:")) for address in Reader(html).addresses)
    assert not re.findall(r"https?://", html), "an address of the network stands in the page"
    assert not re.findall(r"@import|url\((?!#)", html)


def test_plots_filmstrips_and_video_are_files_too(folder):
    place = "bouncing_balls-predictor"
    names = {f"drift-{place}.png", f"survival-{place}.png", "cost-0.png", "filmstrip-0.png"}
    assert {path.name for path in folder.iterdir()} == names | {"side_by_side.mp4", "report.html"}
    assert len(read_video(folder / "side_by_side.mp4")) == 6


def test_rounds_of_the_recipe_are_drawn_with_the_reason_of_their_end(made, tmp_path):
    rounds = {"cost": [0.1, 0.1], "value": [0.02, 0.01], "best": [0.02, 0.01], "stopped": "stop: nothing gained"}
    results = made.results([made.cell("b", 0), made.cell("recycle", 0, rounds=rounds)])
    page = build_report(results, tmp_path, console=Console(file=io.StringIO())).read_text()
    assert "What each round of recycling brought" in page and "stop: nothing gained" in page
    assert (tmp_path / "rounds-bouncing_balls-predictor-recycle.png").exists()


def test_the_page_says_what_was_found_how_it_was_measured_and_how_to_repeat_it(html, made):
    text = Reader(html).text
    assert "1,024 frames or more" in text and "at least" in text
    assert "python -m experiments.quickstart --preset small" in text
    for fact in (
        made.bands.sha,
        "0123456789ab",
        "jax 0.10.2",
        "windows of 8 frames",
        "3 training seeds (0, 1 and 2)",
    ):
        assert fact in text, f"{fact!r} is missing from the page"
    assert "erasing" in text and "jitter" in text
    assert text.count("exponential") >= 4 and "saturates in band" in text


def test_the_same_results_give_the_same_page(results):
    cells = [cell for cell in results["cells"] if cell["method"] == "b"]
    bands = results["bands"]["bouncing_balls"]
    methods = page.known_methods(["b"])
    svgs = {plots.to_svg(plots.survival_plot({"b": cells}, bands, methods)) for _ in range(2)}
    assert len(svgs) == 1


def test_a_plot_takes_the_page_s_ink(results):
    cells = [cell for cell in results["cells"] if cell["method"] == "b"]
    figure = plots.survival_plot({"b": cells}, results["bands"]["bouncing_balls"], page.known_methods(["b"]))
    svg = plots.to_svg(figure)
    assert "currentColor" in svg and "#222222" not in svg and "viewBox" in svg


def test_a_plot_names_no_more_methods_than_an_eye_can_tell_apart(results):
    cell = next(cell for cell in results["cells"] if cell["method"] == "b")
    names = ["b", "b_plus", "ours", "ours:told", *(f"rival_{i}" for i in range(20))]
    rollouts = {name: {**cell["rollouts"], "exit_frame": [i]} for i, name in enumerate(names)}
    entries = {name: [{**cell, "rollouts": rollouts[name]}] for name in names}
    named = plots.most_telling(entries)
    assert named == {"b", "b_plus", "ours", *(f"rival_{i}" for i in range(13, 20))}, "the longest, parts come last"
    same = {name: [cell] for name in names}
    methods, bands = page.known_methods(names), results["bands"]["bouncing_balls"]
    for figure in (plots.drift_plot(same, {}, bands, methods), plots.survival_plot(same, bands, methods)):
        shown = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert "14 others" in shown and len(shown) < 10 + 5


def test_text_of_a_result_file_cannot_break_the_page(made):
    cells = [made.cell("b", 0, world="<script>alert(1)</script>")]
    results = made.results(cells, {"<script>alert(1)</script>": made.bands})
    html = page.render(results, page.Pictures(), question="a < b & c?")
    assert "<script" not in html and "a &lt; b &amp; c?" in html
    assert "no filmstrips" in html.lower() and "no video was made" in html.lower()


def test_one_seed_is_called_one_seed(made):
    results = made.results([made.cell("recycle", 0), made.cell("b_plus", 0)])
    text = Reader(page.render(results, page.Pictures())).text
    assert "1 training seed (0): differences between trainings are not covered" in text
    assert "one pair: no test" in text


def test_what_is_missing_is_left_out_or_dashed(tmp_path, made):
    """A recording without a projector, NaN for what was not measured, no cost, a strange method."""
    cells = [made.cell("b", 0), made.cell("b", 0) | {"method": "somebody_elses"}]
    for cell in cells:
        del cell["curves"]["distance"]
        cell |= {"clean_loss": float("nan"), "bank": None, "cost": {}}
    results = made.results(cells)
    results["headline"] = {}
    for entry in results["summary"].values():
        entry["dynamics_ratio"] = {"1024": [None, None, None]}
        entry["growth"]["n_max"] = "Infinity"
    html = build_report(results, tmp_path, console=Console(file=io.StringIO())).read_text()
    text = Reader(html).text
    assert "No off-manifold distance was measured" in text and "somebody elses" in text
    assert "lasts longest" in text
    assert not re.search(r"\b(nan|NaN|None|inf)\b", text.replace("became NaN", ""))


def test_rollouts_that_went_not_finite_and_empty_curves_are_drawn(tmp_path, made):
    cell = made.cell("b", 0)
    cell["rollouts"] = {"exit_frame": [0] * 16, "censored": [False] * 16, "cause": ["nonfinite"] * 16}
    cell["curves"] = {name: {"frames": [], "mean": [], "rollouts": []} for name in cell["curves"]}
    text = Reader(build_report(made.results([cell]), tmp_path, console=Console(file=io.StringIO())).read_text()).text
    assert "not finite 100 %" in text.replace("\u00a0", " ")
    assert "undetermined" in text


def test_rollouts_of_another_length_stand_apart(made):
    short = made.cell("recycle", 0)
    del short["curves"]["distance"]  # no laws to fit
    long = short | {"max_frames": 8192}
    html = page.render(made.results([short, short | {"seed": 1}, long]), page.Pictures())
    assert "bouncing balls · predictor · 8,192 frames" in html


def ratio(verdict, both=False, factor=16.0):
    return {
        "ratio": factor,
        "ci95": [8.0, 20.0],
        "verdict": verdict,
        "both_censored": both,
        "p_logrank": 0.01,
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ratio("longer"), "That is 16× as long (95 % interval 8.0 to 20)."),
        (ratio("at_least"), "at least 16×"),
        (ratio("shorter", factor=0.5), "shorter, 0.50×"),
        (ratio("at_most", factor=0.5), "shorter, at most 0.50×"),
        (ratio("tie", factor=1.1), "no clear difference, 1.10×"),
        (ratio("tie", both=True), "a tie as far as was seen"),
    ],
)
def test_an_answer_is_no_stronger_than_what_was_measured(results, row, said):
    place = "bouncing_balls/predictor"
    changed = results | {"headline": {"horizon_ratios": {place: {"recycle_over_b_plus": row}}}}
    assert said in answer(changed)
    assert comparison_grid(changed) is not None


def test_an_answer_over_several_places_counts_verdicts(results):
    ratios = {
        "balls/predictor": {"recycle_over_noise": ratio("longer")},
        "balls/flow": {"recycle_over_noise": ratio("shorter")},
        "heartbeat/flow": {"recycle_over_noise": ratio("tie")},
    }
    said = answer(results | {"headline": {"horizon_ratios": ratios}})
    assert "noise augmentation in 1 of 3 combinations of world and generator, shorter in 1, undecided in 1" in said


def test_results_of_a_file_and_of_memory_give_one_report(results):
    assert page.render(json.loads(json.dumps(results)), page.Pictures()) == page.render(results, page.Pictures())


def test_survival_reads_kaplan_meier(results, made):
    cells = [cell for cell in results["cells"] if cell["method"] == "recycle"]
    frames, alive = plots._survival(cells)
    assert (frames[0], frames[-1]) == (1, made.last) and np.all(np.diff(alive) <= 0)
    assert alive[-1] == pytest.approx(np.mean([c for cell in cells for c in cell["rollouts"]["censored"]]))


def test_of_many_rivals_those_beaten_everywhere_are_named_together():
    longer, tie = {"verdict": "longer", "ratio": 3.0}, {"verdict": "undecided", "ratio": 1.1}
    place = {f"ours_over_{rival}": longer for rival in ("b", "b_plus", "noise", "forcing")}
    ratios = {"balls/flow": {**place, "ours_over_relay": tie}, "balls/predictor": {**place, "ours_over_relay": longer}}
    said = answer({"headline": {"horizon_ratios": ratios}, "summary": {}})
    assert "longer than 4 of 5 others wherever they were measured: teacher forcing (B);" in said
    assert "it outlasts relay (1 of 2)." in said
    assert said.endswith("It is shorter nowhere beyond doubt. The rest is undecided.")
    ratios["balls/flow"]["ours_over_relay"] = {"verdict": "tie", "ratio": 0.04}
    said = answer({"headline": {"horizon_ratios": ratios}, "summary": {}})
    assert said.endswith("The rest is undecided; its median is the shorter one against relay (1).")
    ratios["balls/flow"]["ours_over_relay"] = {"verdict": "shorter", "ratio": 0.5}
    said = answer({"headline": {"horizon_ratios": ratios}, "summary": {}})
    assert said.endswith("It is shorter than relay in 1. The rest is undecided.")


def test_rivals_of_few_places_are_counted_and_their_losses_told():
    longer, shorter = {"verdict": "longer", "ratio": 3.0}, {"verdict": "shorter", "ratio": 0.5}
    place = {f"ours_over_{rival}": longer for rival in ("b", "b_plus", "noise", "forcing")}
    ratios = {f"world{i}/flow": dict(place) for i in range(8)}
    ratios["world0/flow"] |= {"ours_over_washed": longer, "ours_over_relay": shorter}
    said = answer({"headline": {"horizon_ratios": ratios}, "summary": {}})
    assert "longer than 5 of 6 others wherever they were measured" in said
    assert "Diffusion Forcing; and 1 more that was measured in few places." in said
    assert "it outlasts 1 more that was measured in few places. It is shorter than relay in 1." in said


def test_a_cost_plot_of_many_methods_names_the_foremost():
    points = {"b": [(1.0, 8.0, 4.0, 16.0)], "b_plus": [(1.45, 16.0, 8.0, 32.0)]}
    points |= {f"m{place}": [(1.45, 100.0 + place, 50.0, 200.0)] for place in range(40)}
    figure = plots.cost_plot(points, page.known_methods(points), 1024)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[-2:] == ["32 others", "frames watched"] and len(labels) == plots.MOST_NAMED + 2
    assert "m39" in labels and "m0" not in labels
