"""Sources fed to whatever wants their metrics, with count kept of what was no metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import click

from carbonquota.cli.output import Json, Output, plural
from carbonquota.cli.progress import progress_bar
from carbonquota.cli.sources import STANDARD_INPUT, Advance, Item, Source
from carbonquota.controls import WHY_MALFORMED
from carbonquota.errors import InputError, MetricNameError
from carbonquota.ingest import SourceBatch, SourceLine
from carbonquota.kernel import Malformed, parse
from carbonquota.metric_name import normalize
from carbonquota.model import Size
from carbonquota.storage.tree import StoredMetric, Unreadable

_SAMPLES: Final = 5
"""Malformed lines told in full."""

_UNREADABLE_SHOWN: Final = 10
"""Unreadable files named on stderr; JSON has them all."""

_WHY: Final = {
    Malformed.FIELDS: "neither a name nor `name value timestamp`",
}
"""What is said otherwise here than elsewhere, as names alone are taken, too."""


class Target(Protocol):
    """What takes the metrics of sources."""

    def take_lines(self, plaintext: bytes) -> tuple[int, int]:
        """Take plaintext lines; returns how many were points and how many malformed."""

    def take_metric(self, metric: str, size: Size) -> None:
        """Take a metric of a known size; MetricNameError where it cannot be one."""


@dataclass(frozen=True, slots=True)
class MalformedLine:
    """A line that is neither a name nor a point: where it stands, what it says and what is wrong."""

    source: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        """All of it in one line."""
        return f"{self.source}:{self.line}: {self.reason}: {self.text!r}"


@dataclass(slots=True)
class SourceIntake:
    """What was read from sources: points taken, and what could not be."""

    points: int = 0
    malformed: int = 0
    malformed_samples: list[MalformedLine] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    def read(self, source: Source, target: Target, advance: Advance) -> None:
        """Feed one source to the target; InputError where there is nothing good in it."""
        points, malformed, unreadable = self.points, self.malformed, len(self.unreadable)
        for item in source.read(advance):
            self._take(item, target)
        if self.points > points:
            return
        if self.malformed > malformed:
            raise InputError(
                f"{source.name}: neither metric names nor plaintext lines: {self._first_malformed(source)}"
            )
        if len(self.unreadable) > unreadable:
            first = self.unreadable[unreadable]
            raise InputError(f"{source.name}: no Whisper file in it can be read: {first.path}: {first.reason}")
        raise InputError(f"{source.name}: empty: there is no metric in it")

    def _first_malformed(self, source: Source) -> str:
        """What is wrong with the first bad line of a source, as far as it was kept."""
        samples = [sample for sample in self.malformed_samples if sample.source == source.name]
        return f"line {samples[0].line}: {samples[0].reason}: {samples[0].text!r}" if samples else "no line is good"

    def _take(self, item: Item, target: Target) -> None:
        """Hand one item on."""
        if isinstance(item, SourceBatch):
            points, malformed = target.take_lines(item.plaintext)
            self.points += points
            self.malformed += malformed
            if malformed:
                self._add_samples(item)
        elif isinstance(item, StoredMetric):
            self._take_stored(item, target)
        else:
            self.unreadable.append(item)

    def _take_stored(self, stored: StoredMetric, target: Target) -> None:
        """Hand the metric of a Whisper file on."""
        try:
            target.take_metric(stored.metric, stored.size)
        except MetricNameError as error:
            self.unreadable.append(Unreadable(click.format_filename(stored.path), str(error)))
        else:
            self.points += 1

    def _add_samples(self, batch: SourceBatch) -> None:
        """Look for the malformed lines of a batch, until there are enough samples."""
        for line in batch.lines():
            if len(self.malformed_samples) == _SAMPLES:
                return
            if reason := _why_malformed(line):
                text = line.text.decode(errors="backslashreplace")
                self.malformed_samples.append(MalformedLine(batch.source, line.number, text, reason))

    def notes(self, output: Output) -> None:
        """Tell on stderr what could not be taken, if anything."""
        if self.malformed:
            output.note(f"{plural(self.malformed, 'malformed line')} left out, such as")
            for sample in self.malformed_samples:
                output.note(f"  {sample}")
        if self.unreadable:
            output.note(f"{plural(len(self.unreadable), 'unreadable file')} left out")
            for file in self.unreadable[:_UNREADABLE_SHOWN]:
                output.note(f"  {file.path}: {file.reason}")
            if len(self.unreadable) > _UNREADABLE_SHOWN:
                output.note(f"  and {len(self.unreadable) - _UNREADABLE_SHOWN:,} more")

    def document(self) -> Json:
        """The same for JSON."""
        samples = [
            {"source": sample.source, "line": sample.line, "text": sample.text, "reason": sample.reason}
            for sample in self.malformed_samples
        ]
        return {
            "malformed": {"lines": self.malformed, "samples": samples},
            "unreadable": [{"path": file.path, "reason": file.reason} for file in self.unreadable],
        }


def _why_malformed(line: SourceLine) -> str | None:
    """What is wrong with a line, or None where it is good."""
    name = parse(line.plaintext)
    if isinstance(name, Malformed):
        return _WHY.get(name, WHY_MALFORMED[name.name.lower()])
    try:
        normalize(name or b"")
    except MetricNameError as error:
        return str(error)
    return None


def read_sources(paths: Sequence[str], target: Target, output: Output) -> SourceIntake:
    """Feed all sources to the target, in their order, with a progress bar on a terminal."""
    if paths.count(STANDARD_INPUT) > 1:
        raise InputError("standard input can be read only once, so `-` can stand only once")
    intake = SourceIntake()
    with progress_bar(output.progress_console) as start:
        for source in map(Source, paths):
            intake.read(source, target, start(source))
    intake.notes(output)
    return intake
