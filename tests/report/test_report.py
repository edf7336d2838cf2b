"""The report as a whole: what a reader gets, whatever the result file lacks."""

import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from recycle_jax.io.video import read_video
from recycle_jax.report import page, plots
from recycle_jax.report.build import Media, Video, build_report
from recycle_jax.report.filmstrips import Filmstrip
from recycle_jax.report.grid import Column, Entry, Grid, Section
from tests.report.made import LABELS

SECTIONS = ["results", "drift", "survival", "motion", "filmstrips", "video", "wrong", "cost", "measured", "glossary"]
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
        videos=[Video(name="side_by_side", title="balls", columns=clips, scale=4, fps=30.0)],
    )


@pytest.fixture(scope="module")
def folder(results, media, tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    build_report(results, path, media, labels=LABELS, console=Console(file=io.StringIO()))
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
    task = "bouncing_balls-predictor"
    names = {f"drift-{task}.png", f"survival-{task}.png", f"motion-{task}.png", "filmstrip-0.png"}
    assert {path.name for path in folder.iterdir()} == names | {"side_by_side.mp4", "report.html"}
    assert len(read_video(folder / "side_by_side.mp4")) == 6


def test_the_page_says_what_was_found_how_it_was_measured_and_how_to_repeat_it(html, made):
    text = Reader(html).text
    assert "error recycling lasts longest of 5, 1,024 frames or more (motion" in text
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
    svgs = {plots.to_svg(plots.survival_plot({"b": cells}, bands, LABELS)) for _ in range(2)}
    assert len(svgs) == 1


def test_a_plot_takes_the_page_s_ink(results):
    cells = [cell for cell in results["cells"] if cell["method"] == "b"]
    figure = plots.survival_plot({"b": cells}, results["bands"]["bouncing_balls"], LABELS)
    svg = plots.to_svg(figure)
    assert "currentColor" in svg and "#222222" not in svg and "viewBox" in svg


def test_a_plot_names_no_more_methods_than_an_eye_can_tell_apart(results):
    cell = next(cell for cell in results["cells"] if cell["method"] == "b")
    names = ["b", "b_plus", "recycle", "recycle:told", *(f"rival_{i}" for i in range(20))]
    rollouts = {name: {**cell["rollouts"], "exit_frame": [i]} for i, name in enumerate(names)}
    entries = {name: [{**cell, "rollouts": rollouts[name]}] for name in names}
    named = plots.most_telling(entries, LABELS)
    assert named == {"b", "b_plus", "recycle", *(f"rival_{i}" for i in range(13, 20))}, "the longest, parts come last"
    same = {name: [cell] for name in names}
    bands = results["bands"]["bouncing_balls"]
    for figure in (plots.drift_plot(same, {}, bands, LABELS), plots.survival_plot(same, bands, LABELS)):
        shown = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert "14 others" in shown and len(shown) < 10 + 5


def test_text_of_a_result_file_cannot_break_the_page(made):
    cells = [made.cell("b", 0, world="<script>alert(1)</script>")]
    results = made.results(cells, {"<script>alert(1)</script>": made.bands})
    html = page.render(results, page.Pictures(), words=page.Words(question="a < b & c?"))
    assert "<script" not in html and "a &lt; b &amp; c?" in html
    assert "no filmstrips" in html.lower() and "no video was made" in html.lower()


def test_one_seed_is_called_one_seed(made):
    results = made.results([made.cell("recycle", 0), made.cell("b_plus", 0)])
    text = Reader(page.render(results, page.Pictures())).text
    assert "1 training seed (0): differences between trainings are not covered" in text


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
    assert "off-manifold distance</em>" not in html and "somebody elses" in text
    assert "2 of 2 last equally long" in text
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


def test_results_of_a_file_and_of_memory_give_one_report(results):
    assert page.render(json.loads(json.dumps(results)), page.Pictures()) == page.render(results, page.Pictures())


def test_survival_reads_kaplan_meier(results, made):
    cells = [cell for cell in results["cells"] if cell["method"] == "recycle"]
    frames, alive = plots._survival(cells)
    assert (frames[0], frames[-1]) == (1, made.last) and np.all(np.diff(alive) <= 0)
    assert alive[-1] == pytest.approx(np.mean([c for cell in cells for c in cell["rollouts"]["censored"]]))


def test_with_one_generator_nothing_lasts_longest_and_the_console_says_where_the_page_is(made, tmp_path):
    out = io.StringIO()
    path = build_report(made.results([made.cell("b", 0)]), tmp_path, labels=LABELS, console=Console(file=out, width=40))
    text = Reader(path.read_text()).text
    assert "longest" not in text
    assert "with teacher forcing, half of the rollouts look like real video for 24 frames (motion 4" in text
    assert f"report: {path}" in out.getvalue()


def test_recorded_video_has_no_drift_and_says_how_its_horizon_is_to_be_read(made, tmp_path):
    cell = made.cell("b", 0, world="arm")
    del cell["curves"]["distance"]
    kept = {name: band for name, band in made.bands.statistics.items() if name != "distance"}
    results = made.results([cell], {"arm": dataclasses.replace(made.bands, statistics=kept)})
    page_text = build_report(results, tmp_path, labels=LABELS, console=Console(file=io.StringIO())).read_text()
    assert 'id="drift"' not in page_text and 'id="motion"' in page_text and "error growth" not in page_text
    assert "Recorded video:" in page_text and "share of real motion" in page_text


def test_what_was_set_and_where_the_parameters_lie_is_said(results):
    words = page.Words(command="python -m experiments.footage --data films", saved="Parameters: runs/a/trained.")
    html = page.render(results, page.Pictures(), LABELS, words)
    assert "experiments.footage --data films" in html and "Parameters: runs/a/trained." in html


def test_an_experiment_s_own_blocks_stand_where_they_belong(results):
    grid = Grid(columns=[Column(title="x")], sections=[Section(title="", rows=[[Entry(main="0.5")]])])
    blocks = {
        name: [page.Block(title=f"<{name}>", grid=grid, anchor=name)] for name in ("compared", "sections", "cost")
    }
    html = page.render(results, page.Pictures(), LABELS, extras=page.Extras(**blocks))
    assert Reader(html).ids[2] == "sections"
    assert html.index("&lt;compared&gt;") < html.index('<section id="survival">') < html.index("<h2>&lt;sections&gt;")
    assert html.index('<section id="cost">') < html.index("<h3>&lt;cost&gt;")
