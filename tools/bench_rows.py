"""The rows of the benchmark's table: what is measured, in which unit, and what the compiled kernel is to reach."""

from __future__ import annotations

from dataclasses import dataclass

Figures = dict[str, float]
"""Figures of one column by their keys, in seconds, bytes or multiples, a point or a series."""

_WIDTH = 68


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the key of its figures, and the unit that they are shown in after being scaled.

    `reach` is the most that it may be, or the least where `at_least`. `split` is the key of what `bytes.split` and a
    dict take for the same, where that has another name.
    """

    key: str
    what: str
    unit: str
    reach: float | None = None
    at_least: bool = False
    split: str | None = None

    @property
    def scale(self) -> float:
        """What a figure is multiplied with."""
        return {"ns": 1e9, "us": 1e6, "ms": 1e3}.get(self.unit.partition("/")[0], 1.0)

    def key_in(self, column: str) -> str:
        """The key of this row's figure in a column."""
        return self.split if column == "split" and self.split else self.key

    @property
    def reach_text(self) -> str:
        """What is to be reached."""
        return "" if self.reach is None else f"{'>=' if self.at_least else '<='} {self.reach:,g}"


def rows(series: int) -> tuple[Row, ...]:
    """The rows for so many series; what is to be reached is said of 1,000,000."""
    many = f"{series:,}"
    return (
        Row("known", "admit, all known, all accepted", "ns/point", 60),
        Row("rejected_root", "admit, every point rejected by the root's full counter", "ns/point", 60, split="known"),
        Row("rejected_hosts", "admit, every point rejected by its host's full counter", "ns/point", 60, split="known"),
        Row("crowded", "admit, a tenth of the namespaces right at their limit", "ns/point", 120),
        Row("new_known", "admit, new series in known namespaces", "us/series", 1),
        Row("new_all", "admit, new series, each tenth bringing its namespace", "us/series", 1),
        Row("spelled_plain", "admit, known names as they are stored", "ns/point", 60),
        Row("spelled_dots", "  with a doubled dot", "ns/point", 120),
        Row("spelled_tags", "  with tags that are not in order", "ns/point", 120),
        Row("reject_leaf", "admit, new, rejected by metrics of the namespace above", "ns/point", 120),
        Row("reject_namespace", "  its own namespace new", "ns/point", 120),
        Row("reject_tags", "  with tags", "ns/point", 120),
        Row("reject_deep", "  four namespaces new", "ns/point", 120),
        Row("reject_size", "admit, new, rejected by a size limit, sizes by 50 schemas", "ns/point", 120),
        Row("reject_size_namespace", "  its own namespace new", "ns/point", 120),
        Row("reject_size_function", "admit, new, rejected by a size limit again, by a function", "ns/point", 120),
        Row("reject_size_namespace_function", "  its own namespace new", "ns/point", 120),
        Row("new_plain", "admit, new series in few known namespaces", "ns/series", 500),
        Row("new_tags", "  with tags", "ns/series", 800),
        Row("namespace_ruled", f"admit, {many} new namespaces of a series each, under rules", "ns/series", 700),
        Row("namespace_ruled_memory", "  memory, all in", "bytes/series", 180),
        Row("namespace_ruled_longest", "  the longest that a batch took, CPU time", "ms", 20),
        Row("namespace_unruled", f"admit, {many} new namespaces of a series each, under no rule", "ns/series", 700),
        Row("namespace_unruled_memory", "  memory, all in", "bytes/series", 180),
        Row("namespace_unruled_longest", "  the longest that a batch took, CPU time", "ms", 20),
        Row("many_report_first", f"first report of {3 * series // 10:,} ruled namespaces, CPU time", "ms"),
        Row("many_report_first_held", "  the longest that the lock was held", "ms", 10),
        Row("many_report", "the next report", "ms"),
        Row("many_report_held", "  the longest that the lock was held", "ms", 10),
        Row("many_columns", "the same namespaces taken for /metrics", "ms"),
        Row("many_columns_held", "  the longest that the lock was held", "ms", 10),
        Row("offer", "offer, known series", "us/offer", 0.35),
        Row("threads_best", "two threads beside one, wall clock, 1,000 lines a batch: best", "x", 1.7, at_least=True),
        Row("threads_median", "  the same: median", "x", at_least=True),
        Row("threads_daemon_best", "  256 KiB a batch, as the daemon gathers: best", "x", 1.7, at_least=True),
        Row("threads_daemon_median", "  the same: median", "x", at_least=True),
        Row("memory", f"memory, all in, {many} series", "bytes/series", 100),
        Row("load", f"loading {many} names from the snapshot, wall clock", "s", 1e-6 * series),
        Row("load_memory", "  memory after it", "bytes/series"),
        Row("report_all", f"report, 1,000 ruled namespaces, {many} series", "ms", 2),
        Row("report_small", f"report, 1,000 ruled namespaces, {series // 100:,} series", "ms", 2),
        Row("apply", "apply of 1,000 rules while admitting, wall clock: in all", "ms"),
        Row("apply_longest", "  the longest that a batch of 1,000 lines then took", "ms", 100),
        Row("dry_run", f"dry-run of {many} names, all accepted, wall clock", "s", 4),
        Row("dry_run_cpu", "  user and system", "s"),
        Row("dry_run_rejected", f"dry-run of {many} names, 98% rejected, wall clock", "s", 4),
        Row("dry_run_rejected_cpu", "  user and system", "s"),
    )


def large_rows(series: int) -> tuple[Row, ...]:
    """The rows for very many series, which the plain kernel is not asked about."""
    many = f"{series:,}"
    return (
        Row("memory_large", f"memory, all in, {many} series", "bytes/series", 100),
        Row("load_large", f"loading {many} names from the snapshot, wall clock", "s", 10),
        Row("load_memory_large", "  memory after it", "bytes/series"),
    )


def heading() -> str:
    """The names of the columns."""
    columns = ("split", "plain", "compiled", "plain/comp.", "reach")
    return f"{'what':{_WIDTH}} {'unit':12}" + "".join(f" {column:>11}" for column in columns)


def text_of(row: Row, split: Figures, plain: Figures, compiled: Figures) -> str:
    """A row as it is printed, with what was not measured left open."""
    by_column = ((split, row.key_in("split")), (plain, row.key), (compiled, row.key))
    cells = [_cell(figures[key] * row.scale) if key in figures else "-" for figures, key in by_column]
    both = row.key in plain and row.key in compiled and compiled[row.key] > 0
    cells += [f"{plain[row.key] / compiled[row.key]:,.2f}" if both else "", row.reach_text]
    return f"{row.what:{_WIDTH}} {row.unit:12}" + "".join(f" {cell:>11}" for cell in cells)


def _cell(value: float) -> str:
    """A figure with three or more digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"
