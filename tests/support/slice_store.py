"""The store of slices mode as a small model with a clock of the test's own: what `functions.lua` must equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from carbonquota.cluster.store import IntervalSpan, Membership, SliceRequest, SliceStatus, StoreError, TakenSlices


@dataclass
class Shelf:
    """What one server keeps for a cluster; times in milliseconds."""

    now: Callable[[], int]
    since: int = 0
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    given: dict[tuple[int, int], dict[bytes, int]] = field(default_factory=dict)
    lapsed: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    is_up: bool = True

    def restart(self) -> None:
        """Lose everything, as a server without persistence does."""
        self.since = self.now()
        for kept in (self.members, self.given, self.lapsed):
            kept.clear()


class ModelStore:
    """What one node asks; `is_cut` is the network between the two, `loses` an answer that does not arrive."""

    def __init__(self, shelf: Shelf, member: Membership) -> None:
        self.is_cut = False
        self.loses = False
        self._shelf, self._member = shelf, member

    def _reach(self) -> None:
        if self.is_cut or not self._shelf.is_up:
            raise StoreError("away", "model")

    def ping(self) -> None:
        self._reach()

    def leave(self) -> None:
        self._reach()
        self._shelf.members.pop(self._member.node, None)

    def take(self, span: IntervalSpan, divisor: int, requests: Sequence[SliceRequest]) -> TakenSlices:
        self._reach()
        taken = self._take(span, divisor, requests)
        if self.loses:
            raise StoreError("slow", "model")
        return taken

    def _take(self, span: IntervalSpan, divisor: int, requests: Sequence[SliceRequest]) -> TakenSlices:
        shelf, now, key = self._shelf, self._shelf.now(), (span.length, span.number)
        status = self._status(span, now)
        if status is SliceStatus.OK and key not in shelf.lapsed:
            before = span.start - self._member.lapse
            shelf.lapsed[key] = [n for last, n in shelf.members.values() if last < before and n]
        nodes, share = self._note(now, divisor)
        if status is not SliceStatus.OK:
            return TakenSlices(now, nodes, share, status, (0,) * len(requests))
        given, points = shelf.given.setdefault(key, {}), []
        for request in requests:
            kept_back = sum(request.limit // divides for divides in shelf.lapsed[key])
            left = request.limit - given.get(request.digest, 0) - kept_back
            points.append(max(0, min(request.wanted, left, max(1, left // (2 * nodes)))))
            given[request.digest] = given.get(request.digest, 0) + points[-1]
        return TakenSlices(now, nodes, share, status, tuple(points))

    def _status(self, span: IntervalSpan, now: int) -> SliceStatus:
        if self._shelf.since > span.start:
            return SliceStatus.YOUNG
        if now > span.start + 2 * span.length:
            return SliceStatus.LATE
        return SliceStatus.EARLY if span.start > now + self._member.lapse / 2 else SliceStatus.OK

    def _note(self, now: int, divisor: int) -> tuple[int, int]:
        members = self._shelf.members
        for node, (last, _) in list(members.items()):
            if node != self._member.node and last < now - self._member.forget:
                del members[node]
        members.setdefault(self._member.node, (0, 0))
        others = sum(1 / divides for node, (_, divides) in members.items() if node != self._member.node and divides)
        share = len(members) if others + 1 / len(members) <= 1.000001 else max(divisor, 0)
        members[self._member.node] = now, 0 if divisor < 0 else min(divisor or share, share)
        return len(members), share

    def hand_back(self, span: IntervalSpan, slices: Sequence[tuple[bytes, int]]) -> None:
        self._reach()
        given = self._shelf.given.setdefault((span.length, span.number), {})
        for digest, points in slices:
            given[digest] = max(0, given.get(digest, 0) - points)
