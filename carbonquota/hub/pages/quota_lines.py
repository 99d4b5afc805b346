"""Many quotas as lines of a table, as a spreadsheet has them: read with all that is wrong, line by line, and written.

The first line names the columns: `customer`, `provider` (empty or left out: over all of them), and any controls. Below,
an empty cell leaves a limit as it is, `none` is no limit, and anything else is an amount such as `10 GiB`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.names import checked_name
from carbonquota.hub.domain.values import Quota
from carbonquota.hub.pages.fields import amount

NONE: Final = "none"
_PLACES: Final = ("customer", "provider")
_COLUMNS: Final = (*_PLACES, *CONTROLS)


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """What one line asks for: by control a limit, or None for no limit; those that are not named stay as they are."""

    number: int
    customer: str
    provider: str
    limits: Mapping[str, int | None]


@dataclass(slots=True)
class ReadLines:
    """The lines that can be read, and what is wrong with the others, with the numbers of their lines."""

    lines: list[QuotaLine] = field(default_factory=list)
    wrong: list[tuple[int, str]] = field(default_factory=list)


def read_lines(text: str, most: int, is_provider: Callable[[str], bool]) -> ReadLines:
    """All lines of a text; of more than `most` none is read."""
    read = ReadLines()
    rows = _rows(text, read.wrong)
    first = next(rows, None)
    columns = None if first is None else _columns(first, read.wrong)
    seen: dict[tuple[str, str], int] = {}
    for number, cells in rows if columns else ():
        if len(seen) >= most:
            read.wrong.append((number, f"at most {most:,} quotas are changed in one step: send the rest by itself"))
            break
        try:
            line = _line(number, columns or (), cells, is_provider)
            before = seen.setdefault((line.customer, line.provider), number)
            if before != number:
                raise InvalidError(f"the same quota stands in line {before} already")  # noqa: TRY301
            read.lines.append(line)
        except InvalidError as error:
            read.wrong.append((number, str(error)))
    if not read.wrong and not read.lines:
        read.wrong.append((1, f"there is no quota here: the first line names the columns, such as {_example()}"))
    return read


def _rows(text: str, wrong: list[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """The numbers and cells of lines that are not empty."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((one for one in "\t;" if one in first), ",")
    reader = csv.reader(text.splitlines(), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        wrong.append((reader.line_num, f"this is no line of a table: {error}"))


def _columns(first: tuple[int, list[str]], wrong: list[tuple[int, str]]) -> Sequence[str] | None:
    """The names of the columns; None where they are not what can be read."""
    number, cells = first
    columns = [cell.lower().replace("-", "_").replace(" ", "_") for cell in cells]
    while columns and not columns[-1]:
        columns.pop()
    strange = next((cell for cell, column in zip(cells, columns, strict=False) if column not in _COLUMNS), None)
    reason = ""
    if strange is not None:
        reason = f"there is no column called {strange[:40]!r}: they are {', '.join(_COLUMNS)}"
    elif len(set(columns)) < len(columns):
        reason = "a column stands twice: name each once"
    elif "customer" not in columns or not set(columns) & set(CONTROLS):
        reason = f"the first line names the columns: the customer, and at least one control, such as {_example()}"
    if reason:
        wrong.append((number, reason))
        return None
    return columns


def _example() -> str:
    return ",".join((*_PLACES, *CONTROLS[:1]))


def _line(number: int, columns: Sequence[str], cells: Sequence[str], is_provider: Callable[[str], bool]) -> QuotaLine:
    """A line; InvalidError."""
    if any(cells[len(columns) :]):
        raise InvalidError(f"there are {len(cells)} cells, and {len(columns)} columns")
    found = dict(zip(columns, cells, strict=False))
    customer, provider = checked_name("customer", found.pop("customer", "")), found.pop("provider", "")
    if provider and not is_provider(provider):
        raise InvalidError(f"there is no provider called {provider[:60]!r}: an administrator makes it")
    limits = {
        control: None if cell.lower() == NONE else amount(control, cell) for control, cell in found.items() if cell
    }
    if not limits:
        raise InvalidError(f"there is no limit here: write an amount, or {NONE} for no limit")
    return QuotaLine(number, customer, provider, limits)


def write_lines(quotas: Iterable[Quota]) -> str:
    """Quotas as such a text."""
    rows = [[one.customer, one.provider, *("" if limit is None else limit for limit in one.limits.values())]
            for one in quotas]  # fmt: skip
    used = [place for place in range(len(_COLUMNS)) if place <= len(_PLACES) or any(row[place] != "" for row in rows)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_COLUMNS[place] for place in used])
    writer.writerows([row[place] for place in used] for row in rows)
    return text.getvalue()
