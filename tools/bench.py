"""Measures the engine as its users load it: `make bench`, or `python tools/bench.py --series 100000` for a quick look.

Each kernel is measured in processes of its own, on the same series and the same buffers (`bench_traffic.py`), and
beside it what Python needs to split the buffers and look each name up in a dict. Unless a row says otherwise, times are
CPU time of one thread, the best of some runs; the machine may be busy otherwise, so compare figures of one run only.

    python tools/bench.py --large       # also with 10,000,000 series, with the compiled kernel only: takes minutes
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from bench_kernels import COMPILED, PLAIN, environment, kernels, whole
from bench_rows import Figures, Row, heading, large_rows, rows, text_of
from bench_traffic import DRY_RUN_RULES, DRY_RUN_SCHEMAS, every_series

SMALLEST = 100_000
LARGE = 10_000_000
HERE = Path(__file__).parent


class Failed(Exception):  # noqa: N818 - what failed is a part, not the program
    """A part did not get to its end, and has said why."""


def part(kernel: str, *arguments: object) -> Iterator[tuple[str, float]]:
    """The figures of one part, as they come; Failed where it fails."""
    command = [sys.executable, str(HERE / "bench_engine.py"), *map(str, arguments)]
    with subprocess.Popen(command, env=environment(kernel), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            key, value = line.split()
            yield key, float(value)
    if process.returncode:
        raise Failed(f"bench: {' '.join(map(str, arguments))}, kernel {kernel}: failed, see above")


def dry_run(kernel: str, folder: Path, rules: str) -> tuple[float, float, str]:
    """A whole run of `carbonquota dry-run`: wall-clock seconds, user and system seconds, and what it printed."""
    (folder / "rules.conf").write_text(rules)
    command = [sys.executable, "-m", "carbonquota.cli", "dry-run", "--rules", "rules.conf", "--schemas", "schemas.conf"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    answer = subprocess.run(
        [*command, "names.txt"], env=environment(kernel), cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, answer.stdout


class Bench:
    """All measurements, a column of figures for `split` and for each kernel."""

    def __init__(self, series: int, runs: int, columns: Sequence[str], folder: Path) -> None:
        """Measure with this many series; `folder` is for what the parts leave to each other."""
        self.series = series
        self.runs = runs
        self.columns = columns
        self.folder = folder
        self.figures: dict[str, Figures] = {column: {} for column in ("split", *columns)}

    def note(self, column: str, key: str, value: float) -> None:
        """Keep a figure, and say so at once on stderr, since a whole run takes minutes."""
        self.figures[column][key] = value
        print(f"{column:9} {key:24} {value:.4g}", file=sys.stderr, flush=True)

    def run(self) -> None:
        """The parts that every kernel takes part in."""
        for key, value in part(PLAIN, "split", self.series, self.runs):
            self.note("split", key, value)
        for kernel in self.columns:
            for name in ("decisions", "floods", "memory"):
                for key, value in part(kernel, name, self.series, self.runs):
                    self.note(kernel, key, value)
        self.loads(self.columns, self.series, "")
        self.dry_runs()

    def large(self) -> None:
        """What is measured with ten million series too."""
        for key, value in part(COMPILED, "memory", LARGE, 1):
            self.note(COMPILED, f"{key}_large", value)
        self.loads([COMPILED], LARGE, "_large")

    def loads(self, columns: Sequence[str], series: int, suffix: str) -> None:
        """One snapshot, read with each kernel."""
        state = self.folder / f"state{suffix}"
        for _ in part(columns[-1], "save", series, 1, state):
            pass
        for kernel in columns:
            for key, value in part(kernel, "load", series, 1, state):
                self.note(kernel, f"{key}{suffix}", value)

    def dry_runs(self) -> None:
        """A name of each series, all of which are accepted, or only a fiftieth; the answers must not differ."""
        with (self.folder / "names.txt").open("wb") as file:
            for buffers in every_series(self.series):
                file.writelines(line.split()[0] + b"\n" for line in b"".join(buffers).splitlines())
        (self.folder / "schemas.conf").write_text(DRY_RUN_SCHEMAS)
        answers = set()
        for key, most in (("dry_run", self.series), ("dry_run_rejected", max(1, self.series // 50_000))):
            for kernel in self.columns:
                taken = [dry_run(kernel, self.folder, DRY_RUN_RULES.format(per_application=most)) for _ in range(2)]
                self.note(kernel, key, min(wall for wall, _, _ in taken))
                self.note(kernel, f"{key}_cpu", min(cpu for _, cpu, _ in taken))
                answers |= {(key, answer) for _, _, answer in taken}
        if len(answers) != 2:
            raise Failed("bench: the dry runs of the kernels differ")


def show(table: Sequence[Row], figures: dict[str, Figures]) -> None:
    """Print the table."""
    print(heading())
    for row in table:
        print(text_of(row, figures["split"], figures.get(PLAIN, {}), figures.get(COMPILED, {})))


def document(table: Sequence[Row], figures: dict[str, Figures]) -> list[dict[str, object]]:
    """The same for JSON."""
    rows_shown: list[dict[str, object]] = []
    for row in table:
        values = {column: found.get(row.key_in(column)) for column, found in figures.items()}
        shown = {column: value * row.scale for column, value in values.items() if value is not None}
        rows_shown.append({"key": row.key, "what": row.what.strip(), "unit": row.unit, "reach": row.reach, **shown})
    return rows_shown


def measure(options: argparse.Namespace, columns: Sequence[str]) -> dict[str, Figures]:
    """Everything that the options ask for."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.series, options.runs, columns, Path(folder))
        bench.run()
        if options.large and COMPILED in columns:
            bench.large()
    return bench.figures


def main() -> None:
    """Measure, print a table, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=whole, default=1_000_000, help="how many series (default: 1,000,000)")
    parser.add_argument("--runs", type=whole, default=5, help="runs of which the best counts (default: 5)")
    parser.add_argument("--large", action="store_true", help=f"also with {LARGE:,} series, compiled kernel only")
    parser.add_argument("--kernel", choices=(PLAIN, COMPILED), help="only this one (default: all that are built)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    if options.series < SMALLEST:
        parser.error(f"with fewer than {SMALLEST:,} series there are no tenths to speak of")
    columns = kernels(options.kernel)
    machine = {
        "machine": f"{platform.machine()}, {psutil.cpu_count()} CPUs, {psutil.virtual_memory().total >> 30} GiB",
        "python": platform.python_version(),
        "kernels": ", ".join(columns),
        "series": f"{options.series:,}",
    }
    try:
        figures = measure(options, columns)
    except Failed as failed:
        sys.exit(str(failed))
    table = rows(options.series) + (large_rows(LARGE) if options.large else ())
    print("; ".join(f"{key}: {value}" for key, value in machine.items()))
    show(table, figures)
    if options.large:
        print(f"The plain kernel is not asked about {LARGE:,} series: it would take minutes and gigabytes.")
    if options.json:
        text = json.dumps(machine | {"figures": document(table, figures)}, indent=2)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
