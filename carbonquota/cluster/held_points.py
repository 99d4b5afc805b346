"""Points that wait a moment for more to be granted of a limit that is kept in a store.

Theory of operation. Of the rejected points of a batch, those go here of which the store may grant more. The cluster's
thread is woken; after its round trip the points are decided again, at the latest when `delay` has passed since they
came: then what is still rejected is dropped. What they are (lines, data points) is for the host to know. All on the
thread that batches are decided on, but for the call that the cluster makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, Protocol, TypeGuard, TypeVar

from carbonquota.controls.holding import AnyDecision, HeldBack
from carbonquota.trie.columns import Column

T = TypeVar("T")


class HoldingEngine(Protocol):
    """What is asked of the engine; see `QuotaEngine`."""

    def hold_back(self, decision: AnyDecision, spent: Column, most: int) -> tuple[AnyDecision, HeldBack | None]:
        """Take out what more may be granted for."""

    def let_go(self, held: HeldBack) -> None:
        """Count it as waiting no more."""


class Grantor(Protocol):
    """Who gets more of the limits; see `PrepaidService`."""

    @property
    def spent(self) -> Column | None:
        """Of whose limits there is no more; None where nothing can be had now."""

    def on_answer(self, call: Callable[[], object]) -> None:
        """Call this after each round trip."""

    def hurry(self) -> None:
        """Ask at once."""


def is_grantor(cluster: object) -> TypeGuard[Grantor]:
    """Whether a cluster takes slices; its class may not be imported here."""
    return hasattr(cluster, "on_answer")


class Timers(Protocol):
    """The thread that batches are decided on, as it is asked to call something there."""

    def after(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        """Call it then; gives what cancels that. For that thread."""

    def soon(self, call: Callable[[], object]) -> None:
        """Call it, unless all has ended; for any thread."""


@dataclass(frozen=True, slots=True)
class HoldBounds:
    """Points are held back for up to `delay` seconds, and no more than `size` bytes of lines or names at a time."""

    delay: float = 0.1
    size: int = 4_194_304


@dataclass(frozen=True, slots=True)
class PointsForGrant:
    """Points of one batch, and until when they may wait."""

    back: HeldBack
    until: float


class HeldPoints(Generic[T]):
    """The points that wait. `decide` gets them when they are due, with the time until which they may wait once more."""

    def __init__(
        self,
        engine: HoldingEngine,
        grantor: Grantor,
        timers: Timers,
        *,
        bounds: HoldBounds | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """None wait yet; `clock` gives seconds that never go back."""
        self._engine = engine
        self._grantor = grantor
        self._timers = timers
        self._bounds = bounds or HoldBounds()
        self._clock = clock
        self._held: list[tuple[PointsForGrant, T]] = []
        self._size = 0
        self._cancel: Callable[[], object] | None = None
        self._is_answered = False
        self.is_closed = False
        """Nothing is held back any more."""
        self.decide: Callable[[T, float], object] = lambda _, __: None
        self.points = 0
        """How many points were ever held back."""
        grantor.on_answer(self._answered)

    def hold(self, decision: AnyDecision, until: float | None = None) -> tuple[AnyDecision, PointsForGrant | None]:
        """Hold back what may be granted in a moment: the answer without it, and what is to be given to `keep`.

        `until` is of points that waited already.
        """
        spent = self._grantor.spent
        now = self._clock()
        is_new = until is None
        until = now + self._bounds.delay if until is None else until
        if self.is_closed or spent is None or now >= until or self._size >= self._bounds.size:
            return decision, None
        rest, back = self._engine.hold_back(decision, spent, self._bounds.size - self._size)
        if back is None:
            return decision, None
        self.points += len(back.positions) if is_new else 0
        return rest, PointsForGrant(back, until)

    def keep(self, held: PointsForGrant, points: T) -> None:
        """Have the points wait that are at the positions held back."""
        self._held.append((held, points))
        self._size += held.back.size
        if self._cancel is None:
            self._cancel = self._timers.after(held.until - self._clock(), self._time_is_up)
        self._grantor.hurry()

    def _time_is_up(self) -> None:
        self._cancel = None
        self.decide_again()

    def _answered(self) -> None:
        """More may have been granted; called on another thread."""
        if self._held and not self._is_answered:
            self._is_answered = True
            self._timers.soon(self.decide_answered)

    def decide_answered(self) -> None:
        """Have decided again what waits, if there was an answer since; before points that came later are."""
        if self._is_answered:
            self.decide_again()

    def decide_again(self, *, finally_: bool = False) -> None:
        """Have all that waits decided again; `finally_` so that none of it waits any more."""
        self._is_answered = False
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        waiting, self._held, self._size = self._held, [], 0
        for held, points in waiting:
            self._engine.let_go(held.back)
            self.decide(points, 0.0 if finally_ else held.until)
