"""Tables and numbers, as they come out where there is no terminal."""

from __future__ import annotations

import json

import pytest

from carbonquota.cli.output import Column, Output, TextTable, number, plural
from carbonquota.model import MAXIMUM

COLUMNS = (Column("namespace"), Column("limit", numeric=True), Column("rule"))


def table() -> TextTable:
    result = TextTable(COLUMNS)
    result.add("a", "1,000", "[a]")
    result.add("b." * 100 + "c", "2", "")
    return result


def test_a_table_outside_a_terminal_is_plain_text_at_full_width(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False, no_color=False).table(table())
    long = "b." * 100 + "c"
    assert capsys.readouterr().out.splitlines() == [
        f"{'namespace':201}  limit  rule",
        f"{'a':201}  1,000  [a]",
        f"{long}      2",
    ]


def test_json_takes_the_place_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True, no_color=False)
    output.line("text")
    output.table(table())
    output.note("something beside")
    output.document({"a": 1})
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"a": 1}
    assert printed.err == "carbonquota: something beside\n"


def test_text_prints_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False, no_color=False)
    output.document({"a": 1})
    output.line("text")
    assert capsys.readouterr().out == "text\n"


@pytest.mark.parametrize(("amount", "text"), [(0, "0"), (1234567, "1,234,567"), (-5000, "-5,000"), (MAXIMUM, "max")])
def test_numbers_are_written_as_in_the_rules_file(amount: int, text: str) -> None:
    assert number(amount) == text


@pytest.mark.parametrize(("amount", "text"), [(0, "0 points"), (1, "1 point"), (2000, "2,000 points")])
def test_amounts_have_their_noun(amount: int, text: str) -> None:
    assert plural(amount, "point") == text
