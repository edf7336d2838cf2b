"""The pages say what the committed results say."""

import pytest

from experiments.comparison.tables import PAGES, TABLES, marked_tables, with_tables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_table_is_what_the_committed_results_give(page):
    text = page.read_text()
    made = marked_tables(with_tables(text))
    assert made, f"{page.name} has no marked table"
    for name, table in marked_tables(text).items():
        assert table == made[name], f"table {name} of {page.name} is stale: run python -m experiments.comparison.tables"


def test_what_is_not_between_marks_is_left_alone(monkeypatch):
    monkeypatch.setitem(TABLES, "paired", lambda: "| new |\n")
    before = "Some words.\n\n<!-- table: paired -->\n| old |\n<!-- end -->\n\nMore words.\n"
    assert with_tables(before) == before.replace("| old |", "| new |")


def test_a_mark_without_a_table_is_refused():
    with pytest.raises(ValueError, match="there is no table 'horizons': a mark may name short, methods, worlds"):
        with_tables("<!-- table: horizons -->\n<!-- end -->\n")
