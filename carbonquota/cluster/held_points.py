"""Lines that wait a moment for more to be granted of a limit that is kept in a store.

Theory of operation. Of the rejected lines of a batch, those go here of which the store may grant more. The cluster's
thread is woken; after its round trip the lines are decided again, at the latest when `delay` has passed since they
came: then what is still rejected is dropped. All on the event loop's thread, but for the call that the cluster makes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from carbonquota.controls import Admission
from carbonquota.controls.holding import HeldBack
from carbonquota.trie.columns import Column


class HoldingEngine(Protocol):
    """What is asked of the engine; see `QuotaEngine`."""

    def hold_back(self, admission: Admission, spent: Column, most: int) -> tuple[Admission, HeldBack | None]:
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


@dataclass(frozen=True, slots=True)
class HoldBounds:
    """Lines are held back for up to `delay` seconds, and no more than `size` bytes of them at a time."""

    delay: float = 0.1
    size: int = 4_194_304


@dataclass(frozen=True, slots=True)
class _Held:
    """Lines of one batch, and until when they may wait."""

    back: HeldBack
    until: float


class HeldLines:
    """The lines that wait. `decide` gets them when they are due, with the time until which they may wait once more."""

    def __init__(
        self,
        engine: HoldingEngine,
        grantor: Grantor,
        *,
        bounds: HoldBounds | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """None wait yet; `clock` gives seconds that never go back."""
        self._engine = engine
        self._grantor = grantor
        self._bounds = bounds or HoldBounds()
        self._clock = clock
        self._held: list[_Held] = []
        self._size = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_answered = False
        self.decide: Callable[[bytes, float], object] = lambda _, __: None
        self.points = 0
        """How many lines were ever held back."""
        grantor.on_answer(self._answered)

    def hold(self, admission: Admission, until: float | None = None) -> Admission:
        """Hold back what may be granted in a moment; the answer without it. `until` is of lines that waited already."""
        spent = self._grantor.spent
        now = self._clock()
        is_new = until is None
        until = now + self._bounds.delay if until is None else until
        if spent is None or now >= until or self._size >= self._bounds.size:
            return admission
        rest, back = self._engine.hold_back(admission, spent, self._bounds.size - self._size)
        if back is not None:
            self._held.append(_Held(back, until))
            self._size += len(back.lines)
            self.points += admission.dropped - rest.dropped if is_new else 0
            self._wait(until - now)
            self._grantor.hurry()
        return rest

    def _wait(self, seconds: float) -> None:
        """Be woken then at the latest."""
        self._loop = self._loop or asyncio.get_running_loop()
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self.decide_again()

    def _answered(self) -> None:
        """More may have been granted; called on another thread."""
        loop = self._loop
        if loop is not None and self._held and not self._is_answered:
            self._is_answered = True
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.decide_answered)

    def decide_answered(self) -> None:
        """Have decided again what waits, if there was an answer since; before lines that came later are."""
        if self._is_answered:
            self.decide_again()

    def decide_again(self, *, finally_: bool = False) -> None:
        """Have all that waits decided again; `finally_` so that none of it waits any more."""
        self._is_answered = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held, self._size = self._held, [], 0
        for one in held:
            self._engine.let_go(one.back)
            self.decide(one.back.lines, 0.0 if finally_ else one.until)
