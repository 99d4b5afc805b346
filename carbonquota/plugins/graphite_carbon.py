"""Quotas inside Graphite's carbon: the processors that stand before the one which stores or relays.

Theory of operation. Carbon hands each data point through a list of processors, on the reactor's thread. Ours comes
right before the last, the sink, so after all rewriting: what it counts is what is stored or sent on, and each point
once. What carbon makes itself goes through a list of its own: the aggregates, which are metrics as any other and are
counted, and carbon's stats, which are nobody's quota's business. The stats of a cache do not even come that way, but
go right into its cache.

Deciding points one by one would cost more than carbon does itself. So they are gathered until the reactor has read
what there was to read, or until there are `MOST` of them, and then decided as one batch, which is exact as well. The
batch is plaintext lines with all but the names made up. What an admission gives back are the accepted lines, in their
order; as limits only fill up while a batch is decided, the accepted points of a metric are always its first ones, and
so it is known which they are.

Invariants: received = accepted + dropped + malformed + waiting. Points leave in the order in which they came.
Whatever breaks in here, they go on.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from carbon import log as carbon_log
from carbon.pipeline import Processor
from carbon.util import TaggedSeries

from carbonquota.controls import Admission
from carbonquota.errors import MetricNameError
from carbonquota.model import Rule, Verdict
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import Sample
from carbonquota.service.throttling import Dropping

_log = logging.getLogger(__name__)

MOST: Final = 2000
"""Points that are gathered at most: batches do not get cheaper from there on."""

_FEW: Final = 32
"""Up to so many points, deciding them one by one is quicker than as lines."""

_EVERY: Final = 60.0
"""Seconds between two log lines on the same kind of trouble."""

_REST: Final = " 1 1\n"
"""What makes a line of a name: any value, any time."""

_PLAIN: Final = bytes(character for character in range(0x21, 0x7F) if chr(character) not in "{~")
"""What a name may hold to be stored as it is, and to stand in a line; with others it is looked at by itself."""

_BARE: Final = b"  \n"
"""What is left of a line without the characters of names, values and times."""

Datapoint = tuple[float, float]
"""A time and a value, as carbon has it."""

Passed = Iterable[tuple[str, Datapoint]]
"""What a processor hands on at once."""


class Engine(Protocol):
    """As much of `QuotaEngine` as the data path needs."""

    def offer(self, metric: str, points: int = 1) -> Verdict:
        """Whether a point may pass; MetricNameError where no metric can be called so."""

    def admit(self, buffer: bytes) -> Admission:
        """Which points of a batch of lines may pass."""


class QuotaProcessor(Processor):
    """Hands on to `sink` what is within every quota. Used on the reactor's thread; `health` on any."""

    def __init__(
        self,
        engine: Engine,
        sink: Processor,
        *,
        note: Callable[[Dropping], None],
        soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Ask `engine` about each point, and have `note` look at what is dropped.

        `soon` calls a function when the reactor has done what it is at; `clock` gives seconds that never go back.
        """
        self._engine = engine
        self._sink = sink
        self._note = note
        self._soon = soon
        self._most = MOST
        self._notices = BoundedLog(_log, clock, every=_EVERY)
        self._metrics: list[str] = []
        self._datapoints: list[Datapoint] = []
        self._received = self._malformed = self._failures = 0
        self._dropped: Counter[str] = Counter()

    def process(self, metric: str, datapoint: Datapoint) -> Passed:
        """Take a point, to be decided on soon."""
        metrics = self._metrics
        if not metrics:
            self._soon(self.flush)
        metrics.append(metric)
        self._datapoints.append(datapoint)
        if len(metrics) >= self._most:
            self.flush()
        return ()

    def end(self) -> None:
        """Hand on what was gathered, and gather no more: from here on every point is decided on at once."""
        self._most = 1
        self._soon = lambda _: None
        self.flush()

    def flush(self) -> None:
        """Decide on what was gathered, and hand on what may pass."""
        metrics, datapoints = self._metrics, self._datapoints
        if not metrics:
            return
        self._metrics, self._datapoints = [], []
        self._received += len(metrics)
        process = self._sink.process
        for metric, datapoint in self._within(metrics, datapoints):
            try:
                for _ in process(metric, datapoint):
                    pass
            except Exception:  # noqa: BLE001 - as carbon's own pipeline has it: one bad point keeps up no other
                carbon_log.err()

    def _within(self, metrics: list[str], datapoints: list[Datapoint]) -> Passed:
        """The points that are within every quota."""
        points = zip(metrics, datapoints, strict=True)
        if len(metrics) > _FEW:
            buffer = (_REST.join(metrics) + _REST).encode(errors="surrogatepass")
            if buffer.translate(None, _PLAIN) == _BARE * len(metrics):
                return self._within_batch(buffer, points)
        return [point for point in points if self._passes(point[0])]

    def _within_batch(self, buffer: bytes, points: Passed) -> Passed:
        """The same for names that can stand in lines."""
        try:
            admission = self._engine.admit(buffer)
            if admission.accepted is not buffer:
                points = _chosen(points, admission.accepted.decode().split(_REST))
                self._tell(admission)
        except Exception:  # noqa: BLE001 - a bug of ours must cost nobody a point
            self._survive("data points could not be decided on, and go on", "a batch")
        return points

    def _tell(self, admission: Admission) -> None:
        """Count and note what was dropped of a batch."""
        self._dropped.update(admission.dropped_by_control)
        if admission.malformed:
            self._malformed += admission.malformed
            names = [line.decode().removesuffix(_REST) for line in admission.malformed_lines]
            self._notices.warning("malformed", "data points were dropped, as no metric can be called %s", names)
        self._hand_to_log(admission)

    def _passes(self, metric: str) -> bool:
        """Whether one point may pass."""
        try:
            verdict = self._engine.offer(metric if "{" not in metric and "~" not in metric else stored_name(metric))
        except MetricNameError as error:
            self._malformed += 1
            self._notices.warning("malformed", "data points were dropped: %s", error)
            return False
        except Exception:  # noqa: BLE001 - a bug of ours must cost nobody a point
            self._survive("a data point could not be decided on, and goes on", metric)
            return True
        if not verdict.accepted:
            self._dropped[verdict.control or ""] += 1
            self._hand_to_log(_DroppedPoint(metric, verdict))
        return verdict.accepted

    def _hand_to_log(self, dropping: Dropping) -> None:
        """Have what was dropped noted, which changes nothing in the decision."""
        try:
            self._note(dropping)
        except Exception:  # noqa: BLE001 - a bug of ours, and no reason not to go on
            self._survive("what was dropped could not be noted", repr(dropping))

    def _survive(self, what: str, example: str) -> None:
        """Count and tell a bug; to be called while its error is being handled."""
        self._failures += 1
        self._notices.exception("failure", f"{what}: %.200r", example)

    def health(self) -> Iterator[Sample]:
        """The counts."""
        dropped = self._dropped.copy()
        yield Sample("received", self._received)
        yield Sample("accepted", self._received - self._malformed - dropped.total())
        for control, points in dropped.items():
            yield Sample("dropped", points, control)
        yield Sample("malformed", self._malformed, "name")
        yield Sample("internal_errors", self._failures, "decision")


class GeneratedProcessor(Processor):
    """Stands before the sink of what carbon makes itself: its stats pass, all else is decided on."""

    def __init__(self, processor: QuotaProcessor, stats_prefix: str) -> None:
        """`stats_prefix` is what the names of carbon's own stats begin with."""
        self._process = processor.process
        self._own = f"{stats_prefix}."

    def process(self, metric: str, datapoint: Datapoint) -> Passed:
        """The point, if it is carbon's own; all else is taken, to be decided on soon."""
        if metric.startswith(self._own):
            return ((metric, datapoint),)
        return self._process(metric, datapoint)


def stored_name(metric: str) -> str:
    """What carbon stores a metric under, where that is another name; one that it cannot read stays as it is."""
    try:
        path: str = TaggedSeries.parse(metric).path
    except Exception:  # noqa: BLE001 - carbon tells by these that it stores the name as it is
        return metric
    return path


def _chosen(points: Passed, names: Iterable[str]) -> Iterator[tuple[str, Datapoint]]:
    """Of the points those that have these names, in order."""
    wanted = iter(names)
    name = next(wanted, None)
    for point in points:
        if point[0] == name:
            yield point
            name = next(wanted, None)


@dataclass(frozen=True, slots=True)
class _Drop:
    """Why one point was dropped."""

    rule: Rule | None
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _DroppedPoint:
    """One dropped point, as the log of throttling takes it."""

    metric: str
    verdict: Verdict

    @property
    def dropped(self) -> int:
        """It is one."""
        return 1

    @property
    def drops(self) -> Mapping[tuple[str, str], _Drop]:
        """It, by namespace and control."""
        verdict = self.verdict
        return {(verdict.namespace or "", verdict.control or ""): _Drop(verdict.rule, (self.metric,))}
