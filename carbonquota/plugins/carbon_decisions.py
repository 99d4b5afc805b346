"""Which of the points that carbon hands over may pass: decided as a batch where that is quicker, else one by one.

Theory of operation. A batch is plaintext lines with all but the names made up. What an admission gives back are the
accepted lines, in their order; as limits only fill up while a batch is decided, the accepted points of a metric are
always its first ones, and so it is known which they are. Names that cannot stand in lines are decided one by one.
A name goes on in its normal form, so that a metric has one file, and one place in whatever comes behind.

Invariants: decided = accepted + dropped + malformed. Whatever breaks in here, the points in question pass.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

import numpy as np

from carbonquota.controls import WHY_MALFORMED, Admission
from carbonquota.errors import MetricNameError, NoFileError
from carbonquota.kernel import KERNEL, Times, wrong_time
from carbonquota.metric_name import dotted_part, must_be_respelled, normalize
from carbonquota.model import Rule, Verdict
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import Sample
from carbonquota.service.throttling import Dropping

_log = logging.getLogger(__name__)

FEW: Final = 5 if KERNEL == "compiled" else 32
"""Up to so many points, deciding them one by one is quicker than as lines."""

_EVERY: Final = 60.0
"""Seconds between two log lines on the same kind of trouble."""

_REST: Final = " 1 1\n"
"""What makes a line of a name: any value, any time."""

_PLAIN: Final = bytes(range(0x21, 0x7F))
"""What a name may hold to stand in a line; with others it is looked at by itself."""

_BARE: Final = b"  \n"
"""What is left of a line without the characters of names, values and times."""

_DOT, _BLANK, _SEMICOLON, _LINE_END = b". ;\n"

_TAG: Final = b";"
"""What stands before each tag in a name."""

_ODD: Final = (b"}", b"~", b"/")
"""What is somewhere in every name whose part before the tags is not in its normal form, unless its dots are odd."""

_NAME_TAG: Final = b";name="
"""What is in names that carbon stores otherwise for their tags."""


class Engine(Protocol):
    """As much of `QuotaEngine` as the data path needs."""

    def offer(self, metric: str, points: int = 1) -> Verdict:
        """Whether a point may pass; MetricNameError where no metric can be called so."""

    def admit(self, buffer: bytes) -> Admission:
        """Which points of a batch of lines may pass."""


Datapoint = tuple[float, float]
"""A time and a value, as carbon has it."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of points: which of them pass, pairwise with them, or None where all do.

    `metrics` are the names under which they go on. `are_plain` tells that none of these has a tag, or anything else
    that carbon would store it otherwise for.
    """

    metrics: Sequence[str]
    passes: Sequence[bool] | None
    are_plain: bool


class Decisions:
    """Asks an engine about points, and keeps count. `decide` is for one thread at a time, `health` for any."""

    def __init__(
        self,
        engine: Engine,
        *,
        note: Callable[[Dropping], None],
        write_ahead: Callable[[], object] = bool,
        clock: Callable[[], float] = monotonic,
        times: Times | None = None,
    ) -> None:
        """Have `note` look at what is dropped; `clock` gives seconds that never go back.

        `write_ahead` is called before an answer is given: it has the new metrics among the points written down.
        `times` are those that carbon's files have room for, None in a carbon that has none.
        """
        self._times = times
        self._engine = engine
        self._write_ahead = write_ahead
        self._note = note
        self._notices = BoundedLog(_log, clock, every=_EVERY)
        self._decided = self._failures = 0
        self._malformed: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def timely(self, metrics: list[str], datapoints: list[Datapoint]) -> tuple[list[str], list[Datapoint]]:
        """The points without those whose times no file has room for; these are malformed."""
        if self._times is None:
            return metrics, datapoints
        earliest, latest = self._times
        try:
            if not datapoints or (min(datapoints)[0] >= earliest and max(datapoints)[0] < latest + 1):
                return metrics, datapoints
            kept = []
            for metric, datapoint in zip(metrics, datapoints, strict=True):
                if (wrong := wrong_time(int(datapoint[0]), self._times)) is None:
                    kept.append((metric, datapoint))
                else:
                    self._refuse(wrong.name.lower(), f"{metric} at {datapoint[0]:.0f}")
            self._decided += len(metrics) - len(kept)
            return [metric for metric, _ in kept], [datapoint for _, datapoint in kept]
        except Exception:  # noqa: BLE001 - a bug of ours must cost nobody a point
            self._survive("the times of data points could not be looked at, and they go on", "a batch")
            return metrics, datapoints

    def _refuse(self, reason: str, sample: object, count: int = 1) -> None:
        """Count and tell what is malformed."""
        self._malformed[reason] += count
        self._notices.warning(
            reason,
            "data points were dropped: malformed (%s): %s, for example %.200s",
            reason,
            WHY_MALFORMED[reason],
            sample,
        )

    def decide(self, metrics: Sequence[str]) -> Decided:
        """Decide on a point of each, in this order."""
        decided = self._decide(metrics)
        try:
            self._write_ahead()
        except Exception:  # noqa: BLE001 - a bug of ours must cost nobody a point
            self._survive("new metrics could not be written down", "a batch")
        return decided

    def _decide(self, metrics: Sequence[str]) -> Decided:
        """The same, while a process that is killed may still forget the new ones."""
        self._decided += len(metrics)
        decided = Decided(metrics, None, are_plain=False)
        try:
            buffer = _lines(metrics)
            if buffer is None or _may_be_respelled(buffer):
                metrics = [_respelled(metric) for metric in metrics]
                buffer = _lines(metrics)
            are_plain = buffer is not None and _TAG not in buffer
            if buffer is None or len(metrics) <= FEW:
                return Decided(metrics, [self._passes(metric) for metric in metrics], are_plain)
            admission = self._engine.admit(buffer)
            if admission.accepted is buffer:
                return Decided(metrics, None, are_plain)
            decided = Decided(metrics, _selected(metrics, admission), are_plain)
            self._tell(admission)
        except Exception:  # noqa: BLE001 - a bug of ours must cost nobody a point
            self._survive("data points could not be decided on, and go on", "a batch")
        return decided

    def _passes(self, metric: str) -> bool:
        """Whether one point may pass."""
        try:
            verdict = self._engine.offer(metric)
        except MetricNameError as error:
            self._refuse("no_file" if isinstance(error, NoFileError) else "name", error)
            return False
        except Exception:  # noqa: BLE001 - a bug of ours must cost nobody a point
            self._survive("a data point could not be decided on, and goes on", metric)
            return True
        if not verdict.accepted:
            self._dropped[verdict.control or ""] += 1
            self._hand_to_log(_DroppedPoint(metric, verdict))
        return verdict.accepted

    def _tell(self, admission: Admission) -> None:
        """Count and note what was dropped of a batch."""
        self._dropped.update(admission.dropped_by_control)
        if admission.malformed:
            samples = admission.malformed_samples
            for reason, count in admission.malformed_by_reason.items():
                # A line of ours has all fields, unless there is no name.
                self._refuse(
                    "name" if reason == "fields" else reason, samples[reason].decode().removesuffix(_REST), count
                )
        self._hand_to_log(admission)

    def _hand_to_log(self, dropping: Dropping) -> None:
        """Have what was dropped noted, which changes nothing in the decision."""
        try:
            self._note(dropping)
        except Exception:  # noqa: BLE001 - a bug of ours, and no reason not to go on
            self._survive("what was dropped could not be noted", repr(dropping))

    def _survive(self, what: str, example: object) -> None:
        """Count and tell a bug; to be called while its error is being handled."""
        self._failures += 1
        self._notices.exception("failure", f"{what}: %.200r", example)

    def health(self) -> Iterator[Sample]:
        """The counts."""
        dropped = self._dropped.copy()
        yield Sample("received", self._decided)
        malformed = self._malformed.copy()
        yield Sample("accepted", self._decided - malformed.total() - dropped.total())
        for control, points in dropped.items():
            yield Sample("dropped", points, control)
        for reason, count in ({"name": 0} | malformed).items():
            yield Sample("malformed", count, reason)
        yield Sample("internal_errors", self._failures, "decision")


def _may_be_respelled(buffer: bytes) -> bool:
    """Whether carbon may keep one of the metrics of these lines under more than one name."""
    if any(odd in buffer for odd in _ODD) or _has_odd_dots(buffer):
        return True
    return _TAG in buffer and _NAME_TAG in buffer


def _has_odd_dots(buffer: bytes) -> bool:
    """Whether a dot begins a line, or is before another dot, a tag or a blank.

    By numpy, which takes a tenth of the time that `in` takes for each two bytes.
    """
    codes = np.frombuffer(buffer, np.uint8)
    is_dot = codes == _DOT
    before, after = codes[:-1], codes[1:]
    is_odd = is_dot[:-1] & (is_dot[1:] | (after == _BLANK) | (after == _SEMICOLON))
    return bool(is_dot[:1].any() or is_odd.any() or (is_dot[1:] & (before == _LINE_END)).any())


def _respelled(metric: str) -> str:
    """The name under which a point goes on.

    Carbon's cache has an entry for each spelling, a relay may send each to another place, and of spellings there is no
    end. So it is the normal form, but for the order of tags, into which carbon brings them itself.
    """
    try:
        normal = normalize(metric)
    except (MetricNameError, TypeError):
        # Receivers of others may give what is no text for a name.
        return metric
    is_kept = dotted_part(normal) == dotted_part(metric) and not must_be_respelled(metric, normal)
    return metric if is_kept else normal


def _lines(metrics: Sequence[str]) -> bytes | None:
    """A line for each metric, or None where a name cannot stand in one."""
    try:
        buffer = (_REST.join(metrics) + _REST).encode(errors="surrogatepass")
    except TypeError:  # a receiver that takes names for what they are not must not cost others their decision
        return None
    return buffer if buffer.translate(None, _PLAIN) == _BARE * len(metrics) else None


def _selected(metrics: Iterable[str], admission: Admission) -> list[bool]:
    """Which of the metrics' points were accepted."""
    *names, _ = admission.accepted.decode().split(_REST)
    names.reverse()
    passes = []
    for metric in metrics:
        accepted = bool(names) and metric == names[-1]
        passes.append(accepted)
        if accepted:
            names.pop()
    if names:
        raise ValueError(f"{len(names)} points were accepted that nobody offered")
    return passes


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
