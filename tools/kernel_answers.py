"""What carbonquota makes of a buffer on one of its kernels, as plain values: all by which two can be told apart.

The kernel is chosen at import, so the package is imported once for each.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from zlib import crc32

Answer = tuple[str, object]
"""What was asked, and the answer."""

RULES = [
    "[*]\nmetrics = 3\nthroughput = 5\n[/]\nthroughput = 100\n",
    "[/]\nnamespaces = 3\nmetrics = 20\nlogical-size = 500\n[a]\nthroughput = 2\n[*.*]\nmetrics = 1\n",
    "[*]\nphysical-size = 8192\ndata-points = 9\n[*.*]\nthroughput = 1\ndropping-policy = none\n[d.*]\nmetrics = 1\n",
    "[/]\nthroughput = 200\n[*.*.*]\nthroughput = 30\n",
    "",
]
MOST_OFFERS = 20


class Package:
    """carbonquota on one kernel."""

    def __init__(self, kernel: str) -> None:
        """Import it beside others; QuotaError where it was not built."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "carbonquota"]:
            del sys.modules[name]
        os.environ["CARBONQUOTA_KERNEL"] = kernel
        self.kernel: Any = importlib.import_module("carbonquota.kernel")
        self._engines: ModuleType = importlib.import_module("carbonquota")
        self._clocks: ModuleType = importlib.import_module("carbonquota.testing")
        self._rules = [self._engines.RuleSet.from_text(text, source="rules") for text in RULES]

    def answers(self, buffer: bytes) -> Iterator[Answer]:
        """All that can be asked about a buffer, in an order that leads through the states of a table."""
        yield "lines", self._lines(buffer)
        clock = self._clocks.ManualClock(0.0)
        choice = crc32(buffer)
        engine = self._engine(choice, clock)
        yield "new metrics", _told(engine.admit(buffer))
        yield "known metrics", _told(engine.admit(buffer))
        clock.advance(61)
        half = len(buffer) // 2
        yield "first half", _told(engine.admit(buffer[:half]))
        yield "second half", _told(engine.admit(memoryview(buffer)[half:]))
        names = [name for name, *_ in _held(engine)]
        yield "forgotten", [engine.forget(name) for name in names[choice % 3 :: 3]]
        yield "offers", [_verdict(engine.offer(name, 1 + choice % 3)) for name in names[:MOST_OFFERS]]
        clock.advance(61)
        yield "some known", _told(engine.admit(buffer))
        yield "changes", [(change.name, _amounts(change.size)) for change in engine.take_changes()]
        yield "held", _held(engine)
        yield "expired", sorted(engine.expire(100, most=1 + choice % 50))
        yield "after all", (_told(engine.admit(buffer)), _held(engine), engine.report())
        if choice % 4 == 0:
            other = self._engine(choice + 1, clock)
            other.restore(engine.holdings())
            yield "restored", (_told(other.admit(buffer)), _held(other), other.report())

    def _lines(self, buffer: bytes) -> object:
        """Each line, and what it is: its metric's name, or why it has none."""
        kernel = self.kernel
        lines = kernel.SeriesTable(kernel.NameTable()).read(buffer)
        answer: list[tuple[bytes, object]] = []
        for at in range(len(lines)):
            line = lines.line(at)
            row = lines.row(at) if hasattr(lines, "row") else None
            known = lines.name(at) if row == kernel.UNKNOWN else row
            # A kernel that is in doubt asks `parse`; if it is not, it must know the same.
            answer.append((line, _what(kernel.parse(line)) if known is None else _what(known)))
        return answer

    def _engine(self, choice: int, clock: object) -> Any:  # noqa: ANN401 - the class differs from kernel to kernel
        """An engine without metrics; rules and options by the choice."""
        rules = self._rules[choice % len(RULES)]
        creates = 4 if choice % 7 == 0 else None
        return self._engines.QuotaEngine(
            rules,
            size_of=self._size_of,
            clock=clock,
            record_changes=True,
            keep_seen=True,
            max_creates_per_second=creates,
        )

    def _size_of(self, metric: str) -> object:
        """A size that differs from name to name, now and then too large to add up."""
        seed = crc32(metric.encode())
        size = (2**62, 0, 2**62) if seed % 97 == 0 else (16 + 12 * (seed % 5), 4096 * (seed % 3), seed % 7)
        return self._engines.Size(*size)


def _what(known: object) -> object:
    """A name, or the number that stands for why there is none; -2 for a blank line."""
    if known is None:
        return -2
    return int(known) if isinstance(known, int) else known


def _told(admission: Any) -> object:  # noqa: ANN401 - the class differs from kernel to kernel
    """An admission as plain values."""
    drops = {
        who: (drop.points, drop.rule and str(drop.rule.pattern), drop.samples) for who, drop in admission.drops.items()
    }
    counts = (admission.points, admission.dropped, admission.malformed, admission.dropped_by_control)
    return admission.accepted, counts, list(drops.items()), admission.malformed_by_reason, admission.malformed_lines


def _verdict(verdict: Any) -> object:  # noqa: ANN401 - the same
    """A verdict as plain values."""
    return verdict.accepted, verdict.namespace, verdict.control


def _amounts(size: Any) -> object:  # noqa: ANN401 - the same
    """A size as plain values."""
    return None if size is None else (size.logical, size.physical, size.data_points)


def _held(engine: Any) -> list[tuple[object, ...]]:  # noqa: ANN401 - the same
    """Each metric with its size and when it was seen, by name: rows may differ."""
    held = engine.holdings()
    sizes = [_amounts(held.sizes[number]) for number in held.size_numbers.tolist()]
    return sorted(zip(list(held.names), sizes, held.seen.tolist(), strict=True))
