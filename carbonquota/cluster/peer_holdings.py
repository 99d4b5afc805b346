"""What all other nodes hold, as far as it was heard, added to the stock of all; and what is missing of it.

Each start of a node is another run. What a run held before its node began again counts until the new one has told all
that it holds, and is gone then. A node that is silent keeps its place for a day, as what it stored is still there.

The clock comes from outside; nothing here knows sockets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from carbonquota.cluster.messages import Run
from carbonquota.cluster.run_holdings import RunHoldings
from carbonquota.cluster.stock import Stock
from carbonquota.cluster.stock_messages import Stretch


@dataclass(frozen=True, slots=True)
class PeerTimeouts:
    """Times in seconds: a run that says nothing for `lapse` may be followed by an earlier one, as clocks are set back.

    A node that said nothing for `silence` is forgotten, and a run is asked again for what is missing after `again`.
    """

    lapse: float = 10.0
    silence: float = 86_400.0
    again: float = 1.0


_EVER: Final = 1e18
"""More seconds than any clock tells."""

_MOST_RUNS: Final = 4_096
"""Runs that are kept."""


@dataclass(slots=True)
class _Peer:
    """What was heard of one run; `last` is the latest version that it spoke of, `asked` when it was asked for more."""

    heard: float
    holdings: RunHoldings = field(default_factory=RunHoldings)
    last: int = 0
    is_declared: bool = False
    asked: float = -_EVER

    @property
    def is_known(self) -> bool:
        """Whether all that it holds is known."""
        return self.is_declared and self.holdings.heard.is_whole and self.holdings.heard.known_until >= self.last


class PeerHoldings:
    """Keeps what was heard, and its sums in a `Stock`."""

    def __init__(self, stock: Stock, patience: PeerTimeouts | None = None) -> None:
        """Nothing was heard yet."""
        self._stock = stock
        self._patience = patience or PeerTimeouts()
        self._peers: dict[Run, _Peer] = {}
        self.refused = 0
        """Messages not taken because of a bound."""

    @property
    def nodes(self) -> set[bytes]:
        """The nodes of which something is kept."""
        return {run.node for run in self._peers}

    @property
    def are_known(self) -> bool:
        """Whether all that these hold is known."""
        return all(peer.is_known for peer in self._peers.values())

    def hear(self, message: Stretch, now: float) -> None:
        """Take a message in."""
        run = message.run
        if self._is_of_the_past(run, now):
            return
        peer = self._peers.get(run)
        if peer is None and len(self._peers) < _MOST_RUNS:
            peer = self._peers[run] = _Peer(now)
        if peer is None or not peer.holdings.has_room(message.after, message.until):
            self.refused += 1
            return
        peer.heard, peer.last = now, max(peer.last, message.last)
        # What was declared at the start may be in versions that are not heard yet.
        peer.is_declared = peer.is_declared or message.is_declared
        self._merge(peer.holdings, message)
        if peer.is_known:
            self._follow(run, now)

    def _is_of_the_past(self, run: Run, now: float) -> bool:
        """Whether a later run of the node speaks."""
        return any(
            other.node == run.node and other.epoch > run.epoch and now - peer.heard < self._patience.lapse
            for other, peer in self._peers.items()
        )

    def _merge(self, holdings: RunHoldings, message: Stretch) -> None:
        """Have the stock be as the message says."""
        stock = self._stock
        for namespace, above in message.namespaces.items():
            stock.place(namespace, above)
        present = dict(zip(message.versions, message.digests, strict=True))
        came, went = holdings.merge(message.after, message.until, present, message.gone)
        numbers = [stock.kind(kind) for kind in message.of_kind]
        if len(came) == len(present):
            stock.add(message.digests, [numbers[kind] for kind in message.kinds])
        elif came:
            kinds = dict(zip(message.versions, message.kinds, strict=True))
            stock.add([present[version] for version in came], [numbers[kinds[version]] for version in came])
        stock.remove(went)

    def _follow(self, run: Run, now: float) -> None:
        """Forget the other runs of a node of which one is known in full."""
        for other in [one for one in self._peers if one.node == run.node and one != run]:
            if other.epoch < run.epoch or now - self._peers[other].heard >= self._patience.lapse:
                self._forget(other)

    def _forget(self, run: Run) -> None:
        self._stock.remove(self._peers.pop(run).holdings.present.values())

    def forget_silent(self, now: float) -> None:
        """Forget nodes that have been silent for long."""
        for run in [one for one, peer in self._peers.items() if now - peer.heard > self._patience.silence]:
            self._forget(run)

    def ask_at_once(self) -> None:
        """What was asked for may not have been heard: ask for it anew."""
        for peer in self._peers.values():
            peer.asked = -_EVER

    def missing(self, now: float) -> Iterator[tuple[Run, int]]:
        """The runs of which something is missing, after which version; each now and then."""
        for run, peer in self._peers.items():
            if not peer.is_known and now - peer.asked >= self._patience.again:
                peer.asked = now
                yield run, peer.holdings.heard.known_until
