"""The pages say what the committed results say."""

import re

import pytest

from experiments.comparison.labels import LABELS
from experiments.comparison.tables import PAGES, TABLES, marked_tables, with_tables

DOCS = PAGES[0].parent.parent
MARKED = [page for page in PAGES if marked_tables(page.read_text())]


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.name)
def test_every_table_is_what_the_committed_results_give(page):
    text = page.read_text()
    made = marked_tables(with_tables(text))
    for name, table in marked_tables(text).items():
        assert table == made[name], f"table {name} of {page.name} is stale: run python -m experiments.comparison.tables"


def test_every_table_stands_on_a_page():
    shown = {name for page in PAGES for name in marked_tables(page.read_text())}
    assert shown == set(TABLES), "a table that no page shows, or the other way round"


def test_the_first_page_is_short_and_has_few_small_tables():
    text = (DOCS / "results" / "index.md").read_text()
    tables = marked_tables(text)
    assert len(text.splitlines()) <= 200 and 5 <= len(tables) <= 8
    assert all(len(table.splitlines()) <= 13 for table in tables.values())


@pytest.mark.parametrize("name", ["index", "footage"])
def test_no_horizon_of_footage_stands_without_what_the_eye_sees(name):
    text = " ".join((DOCS / "results" / f"{name}.md").read_text().split())
    assert "near-still mosaic" in text and "frame 48" in text and "two hundredths of real motion" in text
    assert "measure is being mended" in text and "motion ÷ real" in text


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_links_between_results_and_notes_lead_somewhere(page):
    for target in re.findall(r"\]\(([\w./-]+\.md)", page.read_text()):
        there = (page.parent / target).resolve()
        ours = there.parent.name in ("results", "lab_notes") or there.name == "renamed.md"
        assert there.exists() or not ours, f"{page.name} links to {target}, which is not there"


def test_renamed_has_every_method():
    text = (DOCS / "renamed.md").read_text()
    missing = [name for name, label in LABELS.known.items() if f"| `{name}` |" not in text or label.name not in text]
    assert not missing, f"{missing}: add old and new label to docs/renamed.md"


def test_what_is_not_between_marks_is_left_alone(monkeypatch):
    monkeypatch.setitem(TABLES, "paired", lambda: "| new |\n")
    before = "Some words.\n\n<!-- table: paired -->\n| old |\n<!-- end -->\n\nMore words.\n"
    assert with_tables(before) == before.replace("| old |", "| new |")


def test_a_mark_without_a_table_is_refused():
    with pytest.raises(ValueError, match="there is no table 'horizons': a mark may name short, methods, worlds"):
        with_tables("<!-- table: horizons -->\n<!-- end -->\n")
