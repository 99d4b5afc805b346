"""What a live daemon says of its quotas, read over HTTP, as a table of limits, the most pressing first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.request import ProxyHandler, build_opener

from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table
from rich.text import Text

from carbonquota.cli.output import number
from carbonquota.model import MAXIMUM
from carbonquota.service.documents import RuleDocument

_PATIENCE: Final = 10.0
"""Seconds that an answer may take."""
_MOST: Final = 1000
"""Namespaces that one answer of the daemon has at most."""
_NEAR: Final = 90.0
"""From so many percent on, a limit is shown as nearly reached."""
_FULL_WIDTH: Final = 140
"""Characters of a line from which on a window shows all digits."""
_UNITS: Final = "kMGTPE"
_TOTALS: Final = {
    "received": "received",
    "accepted": "accepted",
    "dropped": "dropped",
    "malformed": "malformed",
    "own_points": "own stats",
    "stored": "stored",
    "forwarded": "forwarded",
    "queue_points": "waiting",
    "spool_points": "in the spool",
}
"""The values of the daemon's health that are shown, and what they are called."""

_NO_PROXY: Final = build_opener(ProxyHandler({}))

Key = tuple[str, str]
"""A namespace and a control."""


class NoAnswerError(Exception):
    """The daemon did not answer, or with something else than was asked for."""


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit of one namespace: usage in percent of it (None: the limit is 0), and points dropped by it."""

    namespace: str
    control: str
    limit: int
    usage: int
    percent: float | None
    dropped: int
    rule: RuleDocument

    @property
    def urgency(self) -> tuple[float, int]:
        """What rows are sorted by, the largest first."""
        return float("inf") if self.percent is None else self.percent, self.dropped


@dataclass(frozen=True, slots=True)
class Picture:
    """The daemon at one moment: its limits, counts by name since its start, and what is not as it should be."""

    rows: tuple[LimitRow, ...]
    totals: dict[str, int]
    reasons: tuple[str, ...]

    def summary(self) -> str:
        """The counts that there are, in one line."""
        return ", ".join(f"{self.totals[name]:,} {text}" for name, text in _TOTALS.items() if name in self.totals)


@dataclass(frozen=True, slots=True)
class LiveDaemon:
    """A daemon that serves HTTP at `url`. The methods raise NoAnswerError, unless that is an answer itself."""

    url: str

    def is_ready(self) -> bool:
        """Whether it takes points."""
        try:
            self._get("/ready")
        except NoAnswerError:
            return False
        return True

    def received(self) -> int:
        """Points that came in since it started."""
        return _totals(json.loads(self._get("/health"))["stats"]).get("received", 0)

    def picture(self) -> Picture:
        """How it is now."""
        quotas = json.loads(self._get(f"/api/quotas?limit={_MOST}"))["quotas"]
        health = json.loads(self._get("/health"))
        rows = _rows(quotas, _dropped(self._get("/metrics")))
        ordered = sorted(rows, key=lambda row: row.urgency, reverse=True)
        return Picture(tuple(ordered), _totals(health["stats"]), tuple(health["reasons"]))

    def _get(self, path: str) -> str:
        """The body of an answer."""
        try:
            with _NO_PROXY.open(self.url + path, timeout=_PATIENCE) as answer:
                body: bytes = answer.read()
        except (OSError, HTTPException) as error:
            raise NoAnswerError(f"no answer from {self.url}{path}: {error}") from None
        return body.decode()


def _rows(quotas: Iterable[dict[str, Any]], dropped: Counter[Key]) -> Iterator[LimitRow]:
    """A row for each limit."""
    for quota in quotas:
        namespace, rule = quota["namespace"], RuleDocument(**quota["rule"])
        for state in quota["controls"]:
            key = namespace, state["control"].replace("-", "_")
            amounts = state["limit"], state["usage"], state["percent"]
            yield LimitRow(namespace, state["control"], *amounts, dropped[key], rule)


def shown_path(text: str) -> str:
    """A path from the current folder, if it is below that."""
    path, here = Path(text), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _dropped(page: str) -> Counter[Key]:
    """Points dropped since the start by namespace and control, as the page for Prometheus has them."""
    dropped: Counter[Key] = Counter()
    for family in text_string_to_metric_families(page):
        if family.name == "carbonquota_quota_dropped":
            for sample in family.samples:
                dropped[sample.labels["namespace"], sample.labels["control"]] += int(sample.value)
    return dropped


def _totals(stats: dict[str, Any]) -> dict[str, int]:
    """The daemon's own counts, each added up over its labels."""
    return {
        name: int(sum(value.values()) if isinstance(value, dict) else value)
        for name, value in stats.items()
        if name in _TOTALS
    }


def limits_table(rows: Iterable[LimitRow], width: int | None = None) -> Table:
    """The table of these rows: in full, or short where they are to fit into a narrow window."""
    full = width is None or width >= _FULL_WIDTH
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("namespace")
    table.add_column("control", no_wrap=True)
    for heading in ("limit", "usage", "percent", "dropped"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why")
    for row in rows:
        cells = _full_cells(row) if full else _short_cells(row)
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells), style=_colour(row))
    return table


def _full_cells(row: LimitRow) -> tuple[str, ...]:
    """A row with all its digits, and the rule as other tables have it."""
    rule = f"[{row.rule.pattern}] {shown_path(row.rule.file)}:{row.rule.line}"
    return _cells(row, number, rule + ("" if row.rule.enforced else " (not enforced)"))


def _short_cells(row: LimitRow) -> tuple[str, ...]:
    """A row for a narrow window, at whose right edge text may be cut off."""
    enforced = "" if row.rule.enforced else ", not enforced"
    return _cells(row, _short, f"line {row.rule.line}{enforced} [{row.rule.pattern}]")


def _cells(row: LimitRow, shown: Callable[[int], str], why: str) -> tuple[str, ...]:
    percent = "-" if row.percent is None else f"{row.percent:,.1f}%"
    dropped = shown(row.dropped) if row.dropped else "-"
    return row.namespace, row.control, shown(row.limit), shown(row.usage), percent, dropped, why


def _short(amount: int) -> str:
    """A number in six characters at most: `99,999`, `266 M`, `1.25 T`, `max`."""
    if amount < 100_000 or amount == MAXIMUM:
        return number(amount)
    power = min((len(str(amount)) - 1) // 3, len(_UNITS))
    part = amount / 1000**power
    return f"{part:.{2 if part < 10 else 1 if part < 100 else 0}f} {_UNITS[power - 1]}"


def _colour(row: LimitRow) -> str | None:
    """How pressing a row is."""
    pressing = row.urgency[0]
    return "red" if pressing >= 100 else "yellow" if pressing >= _NEAR else None
