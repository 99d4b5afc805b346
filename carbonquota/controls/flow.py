"""Throughput: how one offer, or a batch of them, is held against the points still left in this interval.

Theory of operation. For one offer: ask every quota above it, root first; charge them only once the whole offer is
accepted. For a batch the same answers are found without a step per point. Call a quota *full* when nothing is left:
it stays so for the whole batch, and if its rule enforces, every point below it is *doomed*, charges nothing, and is
rejected by the first such quota on its way down. Count the other points per quota. A quota that has room for all of
them can reject none, whatever their order; one that has not, or that they would just fill while there are doomed points
below it, is *contested*. Only points below a contested quota depend on the order, and on nothing but each other. If
each of them is below that one alone, the first get what is left; else they are decided one at a time.

Invariant: a batch gives the answers and leaves the counts that its points would, offered one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.table import THROUGHPUT
from carbonquota.model import MAXIMUM
from carbonquota.trie import NO_QUOTA, Quotas

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.int32]


def over(quotas: Quotas, quota: int, control: int, points: int) -> bool:
    """Count an offer over this quota's limit; whether it is thereby rejected."""
    quotas.throttle_at[quota] = min(quotas.throttle_at[quota] + points, MAXIMUM)
    if not quotas.enforcing_at[quota]:
        return False
    dropped = quotas.dropped_at[control]
    dropped[quota] = min(dropped[quota] + points, MAXIMUM)
    return True


def ask(quotas: Quotas, chain: tuple[int, ...], points: int) -> int:
    """The first quota of a flow chain that rejects an offer of `points`, or NO_QUOTA. Charges nothing."""
    left = quotas.left_at
    for quota in chain:
        if left[quota] < points and over(quotas, quota, THROUGHPUT, points):
            return quota
    return NO_QUOTA


def charge(quotas: Quotas, chain: tuple[int, ...], points: int) -> None:
    """Count an accepted offer at every quota of a flow chain, each up to 2^63 - 1 points."""
    left, limit = quotas.left_at, quotas.limit_at
    for quota in chain:
        left[quota] = max(left[quota] - points, limit[quota] - MAXIMUM)


def take(quotas: Quotas, chain: tuple[int, ...], points: int) -> int:
    """`ask`, and `charge` where nothing rejects; quicker than both where nothing is over."""
    left = quotas.left_at
    for quota in chain:
        if left[quota] < points:
            break
    else:
        for quota in chain:
            left[quota] -= points
        return NO_QUOTA
    rejecter = ask(quotas, chain, points)
    if rejecter == NO_QUOTA:
        charge(quotas, chain, points)
    return rejecter


@dataclass(frozen=True, slots=True)
class Settled:
    """A batch decided as far as it can be at once.

    `rejecters` has the rejecting quota of each point or NO_QUOTA (int32, shape (points,)); `singles` are the
    positions, in order, of those still to be decided one at a time, for which `rejecters` means nothing yet.
    `ALL_ACCEPTED` stands for a batch of which nothing is rejected or left to decide.
    """

    rejecters: Rows
    singles: Integers


ALL_ACCEPTED: Final = Settled(np.zeros(0, np.int32), np.zeros(0, np.int64))


def settle(quotas: Quotas, holders: Integers, unknown: Bools | None = None, uncharged: Bools | None = None) -> Settled:
    """Decide and charge a batch of offers of one point each; `holders` are the quotas nearest above them.

    `unknown` marks offers that must be decided singly whatever their throughput, such as those of new metrics;
    for them `holders` is the nearest quota that exists yet. `uncharged` marks offers that something else is sure to
    reject if throughput does not.
    """
    flows = quotas.flows.take(holders, axis=0).T
    left = quotas.left.take(flows)
    unknown, uncharged = _if_any(unknown), _if_any(uncharged)
    if unknown is None and uncharged is None and left.min(initial=1) > 0:
        touched, counts = _tally(flows)
        after = quotas.left[touched] - counts
        if after.min(initial=0) >= 0:
            quotas.left[touched] = after
            quotas.left_at[NO_QUOTA] = MAXIMUM
            return ALL_ACCEPTED
    return _settle_contested(quotas, flows, left, unknown, uncharged)


def _if_any(marks: Bools | None) -> Bools | None:
    """The marks, or None where nothing is marked."""
    return marks if marks is not None and marks.any() else None


def _settle_contested(
    quotas: Quotas, flows: Rows, left: Integers, unknown: Bools | None, uncharged: Bools | None
) -> Settled:
    """`settle` where some quota is full or may become so; `flows` and `left` have a row a level, root first."""
    rejecters, passed = _meet_full_ones(quotas, flows, left)
    alive = rejecters == NO_QUOTA
    singly = np.zeros(len(alive), np.bool_) if unknown is None else unknown
    charged = alive if uncharged is None else alive & ~uncharged
    if charged.any():
        below = _below_contested(quotas, flows, charged)
        if below.any():
            plain = charged & ~singly & (left > 0).all(axis=0)
            singly = singly | _share_out(quotas, flows, below, plain, rejecters)
            charged = charged & (rejecters == NO_QUOTA)
        touched, counts = _tally(flows[:, charged & ~singly])
        most = quotas.limit[touched] - MAXIMUM
        quotas.left[touched] = np.maximum(quotas.left[touched], most + counts) - counts
        quotas.left_at[NO_QUOTA] = MAXIMUM
    count_over(quotas, rejecters[(rejecters != NO_QUOTA) & ~singly], THROUGHPUT)
    for level, over_quota in passed:
        _add(quotas.throttle, *_tally(flows[level][over_quota & ~singly]))
    return Settled(rejecters, singly.nonzero()[0])


def count_over(quotas: Quotas, rejecters: Rows, control: int) -> None:
    """Count points that a control rejected, by the quota that rejected each."""
    touched, counts = _tally(rejecters)
    _add(quotas.throttle, touched, counts)
    _add(quotas.dropped[control], touched, counts)


def _meet_full_ones(quotas: Quotas, flows: Rows, left: Integers) -> tuple[Rows, list[tuple[int, Bools]]]:
    """Send each point down its quotas as far as the first that is full and enforces: that one, or NO_QUOTA.

    And by level, which points go past a full quota that does not enforce.
    """
    rejecters = np.zeros(flows.shape[1], np.int32)
    passed = []
    for level, quota in enumerate(flows):
        full = left[level] <= 0
        if not full.any():
            continue
        full &= rejecters == NO_QUOTA
        enforcing = quotas.enforcing.take(quota) != 0
        np.copyto(rejecters, quota, where=full & enforcing)
        full &= ~enforcing
        if full.any():
            passed.append((level, full))
    return rejecters, passed


def _below_contested(quotas: Quotas, flows: Rows, charged: Bools) -> Bools:
    """Where in `flows` there are contested quotas: not full, but unable to take all points that they may be charged."""
    touched, counts = _tally(flows[:, charged])
    left = quotas.left[touched]
    contested = counts > left
    just_filled = counts == left
    if just_filled.any():
        # These reject none of the points, but for the others below them, the moment when they fill up counts.
        contested |= just_filled & _marks(quotas, flows[:, ~charged])[touched]
    contested &= left > 0
    if not contested.any():
        return np.zeros(flows.shape, np.bool_)
    return _marks(quotas, touched[contested])[flows]


def _share_out(quotas: Quotas, flows: Rows, below: Bools, plain: Bools, rejecters: Rows) -> Bools:
    """Reject what comes too late for a contested quota, where that is all there is to it; which points remain.

    That is so where the quota enforces, and each point below it is `plain`, with neither a full quota above it nor
    another contested one: then the first ones get what is left, and nobody else is concerned.
    """
    contested = below.any(axis=0)
    plain = plain & (np.count_nonzero(below, axis=0) == 1)
    tangled = below & ~plain
    tangled |= below & (quotas.enforcing.take(flows) == 0)
    remaining = (_marks(quotas, flows[tangled])[flows] & below).any(axis=0)
    at = np.flatnonzero(contested & ~remaining)
    quota = flows[below[:, at].argmax(axis=0), at]
    order = np.argsort(quota, kind="stable")
    at, quota = at[order], quota[order]
    _, counts = _tally(quota)
    place_in_line = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    late = place_in_line >= quotas.left[quota]
    rejecters[at[late]] = quota[late]
    return np.asarray(remaining)


def _marks(quotas: Quotas, marked: Rows) -> Bools:
    """By quota row, whether it is one of these."""
    marks = np.zeros(quotas.size, np.bool_)
    marks[marked] = True
    return marks


def _add(column: Integers, touched: Rows, counts: Integers) -> None:
    """Add to the counts of distinct quotas, stopping at 2^63 - 1."""
    column[touched] = np.minimum(column[touched], MAXIMUM - counts) + counts


def _tally(quotas: Rows) -> tuple[Rows, Integers]:
    """The distinct quotas in an array of any shape, and how often each occurs."""
    # Sorting a batch is quicker than counting into as many bins as there are quotas.
    ordered = quotas.flatten("K")
    ordered.sort()
    last = np.empty(len(ordered), np.bool_)
    last[-1:] = True
    np.not_equal(ordered[1:], ordered[:-1], out=last[:-1])
    stops = last.nonzero()[0]
    counts = stops + 1
    counts[1:] -= counts[:-1].copy()
    return ordered[stops], counts
