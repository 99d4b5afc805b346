"""Which of the points that carbon hands over may pass: their names are decided as one batch.

A name goes on in its normal form, so that a metric has one file, and one place in whatever comes behind.

Invariants: decided = accepted + dropped + malformed + held back. Whatever breaks in here, the points in question pass.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

import numpy as np

from carbonquota.cluster.held_points import PointsForGrant
from carbonquota.controls import WHY_MALFORMED, BatchDecision
from carbonquota.controls.capacity_limits import RefusedMetric
from carbonquota.errors import MetricNameError
from carbonquota.kernel import Times, wrong_time
from carbonquota.metric_name import dotted_part, must_be_respelled, normalize
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HealthSample
from carbonquota.service.throttling import Dropping

_log = logging.getLogger(__name__)

_EVERY: Final = 60.0
"""Seconds between two log lines on the same kind of trouble."""

_PLAIN: Final = bytes(range(0x21, 0x7F))
"""What a name may hold of which carbon makes its file as it is, tags left aside."""

_DOT, _SEMICOLON, _LINE_END = b".;\n"

_TAG: Final = b";"
"""What stands before each tag in a name."""

_ODD: Final = (b"}", b"~", b"/")
"""What is somewhere in every name whose part before the tags is not in its normal form, unless its dots are odd."""

_NAME_TAG: Final = b";name="
"""What is in names that carbon stores otherwise for their tags."""


class DecidingEngine(Protocol):
    """As much of `QuotaEngine` as the data path needs."""

    def admit_names(self, names: Sequence[str]) -> BatchDecision:
        """Which points of a batch may pass, one of each name."""

    def admit_new_names(self, names: Sequence[str]) -> BatchDecision:
        """The same for points that were held back."""

    def refuse_names(self, names: Sequence[str], refused: Sequence[RefusedMetric]) -> BatchDecision:
        """Drop points that were held back."""


Datapoint = tuple[float, float]
"""A time and a value, as carbon has it."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of points: which of them pass, pairwise with them, or None where all do.

    `metrics` are the names under which they go on. `are_plain` tells that none of these has a tag, or anything else
    that carbon would store it otherwise for. `held` are the positions of points that are held back, as their metrics
    are new and the cluster has to be asked: these do not pass now. Neither do those at `waiting_at`, which wait, as
    `waiting` says, for more of a limit.
    """

    metrics: Sequence[str]
    passes: Sequence[bool] | None
    are_plain: bool
    held: Sequence[int] = ()
    waiting: PointsForGrant | None = None
    waiting_at: Sequence[int] = ()


class PointHolder(Protocol):
    """Who has points wait for more of a limit; see `HeldPoints`."""

    def hold(self, decision: BatchDecision, until: float | None) -> tuple[BatchDecision, PointsForGrant | None]:
        """The answer without what waits."""


class Decisions:
    """Asks an engine about points, and keeps count. `decide` is for one thread at a time, `health` for any."""

    def __init__(
        self,
        engine: DecidingEngine,
        *,
        note: Callable[[Dropping], None],
        write_ahead: Callable[[], object] = bool,
        clock: Callable[[], float] = monotonic,
        times: Times | None = None,
        holds_new: bool = False,
    ) -> None:
        """Have `note` look at what is dropped; `clock` gives seconds that never go back.

        `write_ahead` is called before an answer is given: it has the new metrics among the points written down.
        `times` are those that carbon's files have room for, None in a carbon that has none. `holds_new` tells that the
        engine holds new metrics back.
        """
        self.holder: PointHolder | None = None
        """Where limits are prepaid: takes points for which more may be granted."""
        self._times = times
        self._holds_new = holds_new
        self._engine = engine
        self._write_ahead = write_ahead
        self._note = note
        self._notices = BoundedLog(_log, clock, every=_EVERY)
        self._decided = self._failures = self._waiting = 0
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
        self._decided += len(metrics)
        return self._decide_any(metrics)

    def decide_again(self, metrics: Sequence[str], until: float) -> Decided:
        """The same for points that waited for more of a limit, and may wait once more `until` then."""
        self._waiting -= len(metrics)
        return self._decide_any(metrics, until)

    def _decide_any(self, metrics: Sequence[str], until: float | None = None) -> Decided:
        """Decide on points of known metrics and of new ones."""
        decided, _ = self._decide(metrics, self._engine.admit_names, until, holds_new=self._holds_new)
        self._waiting += len(decided.held)
        self._write_down()
        return decided

    def decide_new(self, metrics: Sequence[str]) -> tuple[Decided, BatchDecision | None]:
        """The same for points that were held back, with the engine's answer; None where a bug kept it from one."""
        self._waiting -= len(metrics)
        decided, answer = self._decide(metrics, self._engine.admit_new_names)
        self._write_down()
        return decided, answer

    def refuse(self, metrics: Sequence[str], refused: Sequence[RefusedMetric]) -> None:
        """Drop points that were held back, each by the limit that all nodes together are at."""
        self._waiting -= len(metrics)
        try:
            self._tell(self._engine.refuse_names(metrics, refused))
        except Exception:  # noqa: BLE001 - a bug of ours, at points that are dropped anyway
            self._survive("data points could not be refused", "a batch")

    def _write_down(self) -> None:
        """Have new metrics written down, as a process that is killed may still forget them."""
        try:
            self._write_ahead()
        except Exception:  # noqa: BLE001 - a bug of ours must cost nobody a point
            self._survive("new metrics could not be written down", "a batch")

    def _decide(
        self,
        metrics: Sequence[str],
        admit: Callable[[Sequence[str]], BatchDecision],
        until: float | None = None,
        *,
        holds_new: bool = False,
    ) -> tuple[Decided, BatchDecision | None]:
        """Have points decided by `admit`; what it left out is held back where it `holds_new` ones."""
        decided, answer = Decided(metrics, None, are_plain=False), None
        try:
            text = _text(metrics)
            if text is None or _may_be_respelled(text):
                metrics = [_respelled(metric) for metric in metrics]
                text = _text(metrics)
            are_plain = text is not None and _TAG not in text
            names = metrics if text is not None else _texts(metrics)
            answer = admit(names)
            held = answer.take_new_at().tolist() if holds_new else []
            answer, waiting = self._hold(answer, until)
            waiting_at = waiting.back.positions.tolist() if waiting is not None else []
            passes = _passes(answer, len(names))
            if len(names) != len(metrics):
                passes = self._let_pass_what_is_no_text(metrics, passes or [True] * len(names))
                held, waiting_at = _among(metrics, held), _among(metrics, waiting_at)
            decided = Decided(metrics, passes, are_plain, held, waiting, waiting_at)
            self._waiting += len(waiting_at)
            self._tell(answer)
        except Exception:  # noqa: BLE001 - a bug of ours must cost nobody a point
            self._survive("data points could not be decided on, and go on", "a batch")
        return decided, answer

    def _hold(self, answer: BatchDecision, until: float | None) -> tuple[BatchDecision, PointsForGrant | None]:
        """Have points wait of which more may be granted; the answer without them."""
        if self.holder is None or not answer.dropped:
            return answer, None
        return self.holder.hold(answer, until)

    def _let_pass_what_is_no_text(self, metrics: Sequence[object], passes: Sequence[bool]) -> list[bool]:
        """`passes` with what a receiver takes for names in between: it is carbon's to say what becomes of it."""
        rest = iter(passes)
        all_passes = [next(rest) if isinstance(metric, str) else True for metric in metrics]
        strays = [metric for metric in metrics if not isinstance(metric, str)]
        self._failures += len(strays)
        self._notices.warning("no text", "data points go on undecided, as their names are no text: %.200r", strays)
        return all_passes

    def _tell(self, answer: BatchDecision) -> None:
        """Count and note what was dropped of a batch."""
        if answer.all_pass:
            return
        self._dropped.update(answer.dropped_by_control)
        samples = answer.malformed_samples
        for reason, count in answer.malformed_by_reason.items():
            self._refuse(reason, samples[reason].decode(errors="backslashreplace"), count)
        if answer.dropped:
            self._hand_to_log(answer)

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

    def health(self) -> Iterator[HealthSample]:
        """The counts."""
        dropped = self._dropped.copy()
        yield HealthSample("received", self._decided)
        malformed = self._malformed.copy()
        yield HealthSample("accepted", self._decided - malformed.total() - dropped.total() - self._waiting)
        for control, points in dropped.items():
            yield HealthSample("dropped", points, control)
        for reason, count in ({"name": 0} | malformed).items():
            yield HealthSample("malformed", count, reason)
        yield HealthSample("internal_errors", self._failures, "decision")


def _passes(answer: BatchDecision, points: int) -> list[bool] | None:
    """Which of so many points pass, or None where all do; ValueError where the answer is to something else."""
    if len(answer) != points:
        raise ValueError(f"{len(answer)} points were decided on, of {points}")
    return None if answer.all_pass else answer.passes()


def _may_be_respelled(text: bytes) -> bool:
    """Whether carbon may keep one of the metrics of these, a line each, under more than one name."""
    if any(odd in text for odd in _ODD) or _has_odd_dots(text):
        return True
    return _TAG in text and _NAME_TAG in text


def _has_odd_dots(text: bytes) -> bool:
    """Whether a dot begins a line, or is before another dot, a tag or an end of a line.

    By numpy, which takes a tenth of the time that `in` takes for each two bytes.
    """
    codes = np.frombuffer(text, np.uint8)
    is_dot = codes == _DOT
    before, after = codes[:-1], codes[1:]
    is_odd = is_dot[:-1] & (is_dot[1:] | (after == _LINE_END) | (after == _SEMICOLON))
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


def _texts(metrics: Sequence[object]) -> list[str]:
    """The names that are text: receivers of others may give what is none."""
    return [metric for metric in metrics if isinstance(metric, str)]


def _among(metrics: Sequence[object], held: Sequence[int]) -> list[int]:
    """Positions in the names that are text, as positions in all of them."""
    texts = [position for position, metric in enumerate(metrics) if isinstance(metric, str)]
    return [texts[position] for position in held]


def _text(metrics: Sequence[str]) -> bytes | None:
    """The names, a line each, or None where carbon may make another file of one than it says."""
    try:
        text = ("\n".join(metrics) + "\n").encode(errors="surrogatepass")
    except TypeError:  # a receiver that takes names for what they are not must not cost others their decision
        return None
    return text if text.translate(None, _PLAIN) == b"\n" * len(metrics) else None
