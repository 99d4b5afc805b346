"""The way from the receivers to the sink: lines and points are gathered, decided in batches, and the accepted written.

Theory of operation. All of it runs on the event loop's thread; only `health` may be called from others. A batch is
decided when it is large enough, or a few milliseconds after its first line, so that a thousand connections with a line
each make one batch. While the sink is full nothing is decided: all connections stop reading, and what they
had read already waits. That is no more than one batch and one read.

Every line ends as exactly one of accepted, dropped or malformed, blank ones left out: the engine counts them, and where
a bug keeps it from deciding, the well-formed ones go on undecided.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from time import perf_counter
from typing import Protocol

from carbonquota.cluster.held_points import HeldPoints
from carbonquota.controls import WHY_MALFORMED, Admission
from carbonquota.daemon.sink import Sink
from carbonquota.kernel import Malformed, PointList, parse
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HealthSample

_log = logging.getLogger(__name__)

Offered = bytes | PointList
"""Whole lines, or points that came otherwise."""

Admit = Callable[[Offered], Admission]
"""Decides a batch: `QuotaEngine.admit`."""

Observer = Callable[[Admission], None]
"""Is told of each batch of which something was dropped or malformed."""


class Pausable(Protocol):
    """A connection that can be told to stop reading."""

    def pause(self) -> None:
        """Read no more from the sender."""

    def resume(self) -> None:
        """Read again."""


@dataclass(frozen=True, slots=True)
class Batching:
    """A batch is decided from `size` bytes on, or `delay` seconds after its first line."""

    size: int = 262_144
    delay: float = 0.005


@dataclass(frozen=True, slots=True)
class _Decision:
    """What became of a batch: how many points pass, and the other lines by control and by reason.

    `samples` has a malformed line of each reason.
    """

    points: int
    dropped: Mapping[str, int]
    malformed: Mapping[str, int]
    samples: Mapping[str, bytes] = field(default_factory=dict)


class Intake:
    """Takes whole lines from all receivers, has them decided, and writes what is accepted to the sink."""

    def __init__(  # noqa: PLR0913 - each is one thing on the way of a data point
        self,
        admit: Admit,
        sink: Sink,
        *,
        write_ahead: Callable[[], object] = bool,
        observers: Iterable[Observer] = (),
        held: HeldPoints[bytes] | None = None,
        batching: Batching | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """`clock` gives seconds that never go back; the sink is to call `on_room`.

        `write_ahead` is called between the decision and the sink: it has the batch's new metrics written down, so that
        no point goes on of which a process that is killed would not know. `held` takes rejected lines that may be
        accepted in a moment.
        """
        self.paused = False
        self._admit = admit
        self._sink = sink
        self._write_ahead = write_ahead
        self._observers = tuple(observers)
        self._held = held
        if held is not None:
            held.decide = self._decide_held
        self._until: float | None = None
        self._batching = batching or Batching()
        self._clock = clock
        self._notices = BoundedLog(_log, clock)
        self._counts = _Counts()
        self._lines: list[bytes] = []
        self._points: list[PointList] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pausables: set[Pausable] = set()

    def put(self, lines: bytes) -> None:
        """Take whole lines, each with its end; they are decided with the next batch."""
        if lines:
            self._lines.append(lines)
            self._gather(len(lines))

    def put_points(self, points: PointList) -> None:
        """Take points that are no lines; they are decided with the next batch, behind all lines."""
        if len(points):
            self._points.append(points)
            self._gather(points.size)

    def _gather(self, size: int) -> None:
        """So many bytes more wait: have them decided at once, or soon."""
        self._size += size
        if self.paused:
            return
        if self._size >= self._batching.size:
            self._decide_if_room()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._batching.delay, self._decide_if_room)

    def put_datagram(self, lines: bytes) -> None:
        """The same for a datagram, whose sender cannot be made to wait: while the sink is full it is thrown away."""
        if self.paused:
            self._counts.unread_datagrams += 1
        else:
            self.put(lines)

    def malformed(self, reason: str, count: int, sample: bytes, sender: str = "") -> None:
        """Count `count` things from a sender that are no data points, and log one of them now and then."""
        self._counts.add(_Decision(0, {}, {reason: count}))
        self._tell(reason, count, sample, f" from {sender}" if sender else "")

    def internal_error(self, place: str) -> None:
        """Count and log an exception that is being handled and is a bug."""
        self._counts.internal_errors[place] += 1
        self._notices.exception(place, "internal error: %s failed; the daemon goes on", place)

    def flush(self) -> None:
        """Decide what is gathered, whether or not the sink is full."""
        if self._held is not None:
            self._held.decide_answered()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, points, self._lines, self._points, self._size = self._lines, self._points, [], [], 0
        if lines:
            self._decide(lines[0] if len(lines) == 1 else b"".join(lines))
        if points:
            self._decide(PointList.joined(points))

    def finish(self) -> None:
        """Decide all that came, as nothing will come any more; nothing waits after that."""
        self.flush()
        if self._held is not None:
            self._held.decide_again(finally_=True)
        self.flush()

    def register(self, pausable: Pausable) -> None:
        """Have this one wait when the sink is full, from now on if it is."""
        self._pausables.add(pausable)
        if self.paused:
            pausable.pause()

    def unregister(self, pausable: Pausable) -> None:
        """Forget a connection that is closed."""
        self._pausables.discard(pausable)

    def on_room(self) -> None:
        """The sink has room again: decide what waited, and read on if there is still room then."""
        if self.paused and not self._sink.is_full:
            self.flush()
            self._resume_if_room()

    def health(self) -> Iterator[HealthSample]:
        """The counts; received = accepted + dropped + malformed in every set of them. From any thread."""
        yield from self._counts.samples()
        yield HealthSample("paused", self.paused)
        if self._held is not None:
            yield HealthSample("held_back", self._held.points)

    def _decide_if_room(self) -> None:
        """Decide what is gathered, unless the sink is full: then all senders wait."""
        if not self._sink.is_full:
            self.flush()
        if self._sink.is_full:
            self._pause()

    def _pause(self) -> None:
        """Have all connections read no more."""
        self.paused = True
        for pausable in list(self._pausables):
            pausable.pause()

    def _resume_if_room(self) -> None:
        """Have all connections read again, unless what had waited filled the sink."""
        if self._sink.is_full:
            return
        self.paused = False
        for pausable in list(self._pausables):
            pausable.resume()

    def _decide_held(self, lines: bytes, until: float) -> None:
        """Decide lines that were held back, which may wait once more `until` then."""
        if self._sink.is_full and until:
            self._lines.append(lines)
            self._size += len(lines)
            self._pause()
        else:
            self._decide(lines, until)

    def _decide(self, offered: Offered, until: float | None = None) -> None:
        """Decide a batch, count it, and write what is accepted."""
        self._until = until
        self.decide(offered, partial(self._admit, offered))
        self._until = None

    def decide(self, offered: Offered, admit: Callable[[], Admission]) -> Admission | None:
        """Have a batch decided by `admit` at once, and write what is accepted; None where a bug kept it from that."""
        started = self._clock()
        admission: Admission | None = None
        write: Callable[[], object] = bool
        try:
            admission = admit()
            if admission.dropped and self._held is not None:
                admission = self._hold_back(self._held, admission)
            decision = _decision(admission)
            if decision.points:
                write = self._sink.prepare(admission)
        except Exception:  # noqa: BLE001 - a bug in deciding must not cost anybody's data points
            self.internal_error("decision")
            lines, decision = _undecided(offered if isinstance(offered, bytes) else offered.lines)
            write = partial(self._sink.write, lines, decision.points)
        self._counts.add(decision, batches=1, seconds=self._clock() - started)
        if decision.points:
            self._write(write, decision.points)
        for reason, count in decision.malformed.items():
            self._tell(reason, count, decision.samples[reason])
        if admission is not None and (admission.dropped or admission.malformed):
            self._show(admission)
        return admission

    def _hold_back(self, held: HeldPoints[bytes], admission: Admission) -> Admission:
        """Have lines wait of which more may be granted in a moment; the answer without them."""
        rest, waiting = held.hold(admission, self._until)
        if waiting is not None:
            held.keep(waiting, b"".join(admission.lines_at(waiting.back.positions)))
        return rest

    def _write(self, write: Callable[[], object], points: int) -> None:
        """Have the sink take points."""
        try:
            self._write_ahead()
        except Exception:  # noqa: BLE001 - the same
            self.internal_error("state")
        try:
            write()
        except Exception:  # noqa: BLE001 - the next batch may fare better
            self._counts.lost += points
            self.internal_error("sink")

    def _show(self, admission: Admission) -> None:
        """Tell the observers."""
        for observer in self._observers:
            try:
                observer(admission)
            except Exception:  # noqa: BLE001 - what looks on must not be in the way
                self.internal_error("observer")

    def _tell(self, reason: str, count: int, sample: bytes, sender: str = "") -> None:
        """Log something malformed, at a bounded rate for each reason."""
        text = repr(sample[:100])
        shown = text if len(text) <= 100 else text[:97] + "..."
        # The others say it by their names.
        why = f", {WHY_MALFORMED[reason]}" if reason in {"milliseconds", "time", "no_file"} else ""
        self._notices.warning(reason, "malformed (%s): %d%s%s, for example %s", reason, count, sender, why, shown)


class _Counts:
    """What became of everything so far. Changed on the loop's thread, read on any."""

    def __init__(self) -> None:
        self.unread_datagrams = 0
        self.lost = 0
        self.internal_errors: Counter[str] = Counter()
        self._lock = Lock()
        self._received = self._accepted = self._batches = 0
        self._seconds = 0.0
        self._dropped: Counter[str] = Counter()
        self._malformed: Counter[str] = Counter()

    def add(self, decision: _Decision, *, batches: int = 0, seconds: float = 0.0) -> None:
        """Count what became of some lines."""
        with self._lock:
            self._received += decision.points + sum(decision.dropped.values()) + sum(decision.malformed.values())
            self._accepted += decision.points
            self._dropped.update(decision.dropped)
            self._malformed.update(decision.malformed)
            self._batches += batches
            self._seconds += seconds

    def samples(self) -> list[HealthSample]:
        """All counts of one moment."""
        with self._lock:
            return [
                HealthSample("received", self._received),
                HealthSample("accepted", self._accepted),
                *(HealthSample("dropped", points, control) for control, points in self._dropped.items()),
                *(HealthSample("malformed", count, reason) for reason, count in self._malformed.items()),
                HealthSample("unread_datagrams", self.unread_datagrams),
                HealthSample("lost", self.lost, "internal_error"),
                HealthSample("batches", self._batches),
                HealthSample("decision_seconds", self._seconds),
                *(
                    HealthSample("internal_errors", count, place)
                    for place, count in self.internal_errors.copy().items()
                ),
            ]


def _decision(admission: Admission) -> _Decision:
    """What the engine decided."""
    samples = admission.malformed_samples if admission.malformed else {}
    dropped = admission.dropped_by_control if admission.dropped else {}
    return _Decision(admission.points, dropped, admission.malformed_by_reason, samples)


def _undecided(lines: bytes) -> tuple[bytes, _Decision]:
    """All well-formed lines, for when a bug keeps the engine from deciding, and what that comes to."""
    kept: list[bytes] = []
    malformed: Counter[str] = Counter()
    samples: dict[str, bytes] = {}
    for text in lines.split(b"\n"):
        line = text + b"\n"
        found = parse(line)
        if isinstance(found, Malformed):
            malformed[found.name.lower()] += 1
            samples.setdefault(found.name.lower(), line)
        elif found is not None:
            kept.append(line)
    return b"".join(kept), _Decision(len(kept), {}, malformed, samples)
