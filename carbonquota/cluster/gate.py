"""The gate that batches go through in slices mode: points of known metrics at once, those of new ones once it is known.

Everything happens on one thread, the one that batches are decided on. What waits is decided when an answer comes.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from carbonquota.cluster.claims import ClaimAnswer, namespace_of
from carbonquota.cluster.hold import Hold, Waiting
from carbonquota.cluster.known_limits import KnownLimits
from carbonquota.cluster.settings import OnOutage
from carbonquota.controls import Admission
from carbonquota.controls.stock_limits import NamespaceLimits, RefusedMetric
from carbonquota.controls.table import STOCKS
from carbonquota.metric_name import DEEPEST, normalize
from carbonquota.model import ROOT
from carbonquota.rules import RuleSet

Decide = Callable[[bytes, Callable[[], Admission]], Admission | None]
"""Has lines decided by a function, and what is accepted written; None where a bug kept it from that."""


_PLAIN: Final = string.ascii_letters.encode() + string.digits.encode() + b"_-:.\n"
"""What names of the plain kind are made of, and what stands between them."""

_ODD: Final = (b"..", b".\n", b"\n.", b"\n\n")
"""What stands in none of them: dots that no normal name has, and nothing at all."""


class RefusingEngine(Protocol):
    """What is asked of the engine; see `QuotaEngine`."""

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""

    def admit(self, buffer: bytes) -> Admission:
        """Decide lines, and hold new metrics back."""

    def admit_new(self, buffer: bytes) -> Admission:
        """Decide lines that were held back."""

    def refuse(self, lines: Sequence[bytes], refused: Sequence[RefusedMetric]) -> Admission:
        """Drop lines that were held back."""

    def limits_above(self, namespaces: Iterable[str]) -> list[NamespaceLimits]:
        """The limits of namespaces and of all above them."""

    def has_each(self, metrics: Iterable[str]) -> list[bool]:
        """Whether it holds each of these."""


class Claimer(Protocol):
    """Who asks the store; see `ClaimNode`."""

    def note_doubtful(self, metrics: Iterable[str]) -> None:
        """These were claimed, and were rejected after all."""

    def note_unclaimed(self, metrics: Iterable[str]) -> None:
        """These were accepted without a claim."""


class Gate:
    """Holds new metrics back, if they are under a limit, until there is an answer."""

    def __init__(self, engine: RefusingEngine, hold: Hold, on_outage: OnOutage, *, decide: Decide) -> None:
        """The engine must hold new metrics back."""
        self._engine = engine
        self._hold = hold
        self._on_outage = on_outage
        self._decide = decide
        self._limits = KnownLimits(engine)
        self.is_closed = False
        """Nothing is held back any more, as nobody asks the store."""

    def admit(self, buffer: bytes) -> Admission:
        """Decide lines of known metrics; others are decided later."""
        admission = self._engine.admit(buffer)
        lines = admission.take_new()
        if lines:
            self._hold_back(lines)
        return admission

    def _hold_back(self, lines: Sequence[bytes]) -> None:
        """Have lines of new metrics wait, if they are under a limit."""
        names = names_of(lines)
        namespaces = list(map(namespace_of, names))
        limits = self._limits.of(namespaces)
        entries = [entry for entry in zip(lines, names, namespaces, strict=True) if limits[entry[2]].is_limited]
        free: list[bytes] = []
        if len(entries) < len(lines):
            free = [line for line, namespace in zip(lines, namespaces, strict=True) if not limits[namespace].is_limited]
        too_many = entries if self.is_closed else self._hold.put(entries)
        if free:
            self._admit_new(free)
        if too_many:
            self._drop_unasked([Waiting(name, namespace, 0.0, [line]) for line, name, namespace in too_many])

    def apply(self, answer: ClaimAnswer, claimer: Claimer) -> None:
        """Decide what waits by an answer."""
        granted = self._hold.take(answer.granted)
        if granted:
            self._admit_granted(granted, claimer)
        refused = {waiting.metric: why for waiting, why in answer.refused}
        self._refuse(self._hold.take(waiting for waiting, _ in answer.refused), refused)
        unasked = self._hold.take(answer.unasked)
        if self._on_outage != "accept":
            self._drop_unasked(unasked)
        elif unasked:
            self._admit_new([line for waiting in unasked for line in waiting.lines])
            claimer.note_unclaimed(self._here(unasked, is_here=True))

    def _admit_granted(self, granted: Sequence[Waiting], claimer: Claimer) -> None:
        """Accept claimed metrics, as far as throughput allows it."""
        admission = self._admit_new([line for waiting in granted for line in waiting.lines])
        if admission is None or admission.dropped or admission.malformed:
            claimer.note_doubtful(self._here(granted, is_here=False))

    def _here(self, waiting: Sequence[Waiting], *, is_here: bool) -> list[str]:
        """Those of the metrics that are in the index, or not."""
        names = [one.metric for one in waiting]
        found = self._engine.has_each(names)
        return [name for name, there in zip(names, found, strict=True) if there is is_here]

    def _admit_new(self, lines: Sequence[bytes]) -> Admission | None:
        """Decide lines by what is known here."""
        joined = b"".join(lines)
        return self._decide(joined, partial(self._engine.admit_new, joined))

    def _drop_unasked(self, unasked: Sequence[Waiting]) -> None:
        """Drop what the store could not be asked about, by the first limit that it would have been asked about."""
        limits = {one.namespace: one for one in self._limits.with_all_above(one.namespace for one in unasked)}
        self._refuse(unasked, {one.metric: _first(one, limits) for one in unasked})

    def _refuse(self, waiting: Sequence[Waiting], why: dict[str, RefusedMetric]) -> None:
        """Drop the lines of metrics."""
        lines = [(line, why[one.metric]) for one in waiting for line in one.lines]
        if lines:
            texts = [line for line, _ in lines]
            self._decide(b"".join(texts), partial(self._engine.refuse, texts, [refused for _, refused in lines]))


def names_of(lines: Sequence[bytes]) -> list[str]:
    """The normal names of the metrics of well-formed lines."""
    spelled = [line.split(maxsplit=1)[0] for line in lines]
    joined = b"\n" + b"\n".join(spelled) + b"\n"
    # Nearly all names are plain ones in their normal form; to prove it of all at once takes a tenth of the time.
    if (
        max(map(len, spelled), default=0) < DEEPEST
        and not joined.translate(None, _PLAIN)
        and not any(map(joined.__contains__, _ODD))
    ):
        return joined[1:-1].decode().split("\n")
    return list(map(normalize, spelled))


def _first(waiting: Waiting, limits: dict[str, NamespaceLimits]) -> RefusedMetric:
    """The first limit, from the root down, that a metric is asked about."""
    parts = waiting.namespace.split(".") if waiting.namespace != ROOT else []
    for namespace in (ROOT, *(".".join(parts[:length]) for length in range(1, len(parts) + 1))):
        asked = limits[namespace].limits
        stock = next((stock for stock, limit in zip(STOCKS, asked, strict=True) if limit >= 0), None)
        if stock is not None:
            return RefusedMetric(waiting.metric, namespace, stock)
    return RefusedMetric(waiting.metric, ROOT, STOCKS[0])
