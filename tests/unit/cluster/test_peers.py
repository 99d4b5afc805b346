"""Peers by address and by name."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from carbonquota.cluster.peers import Peer, endpoints, peer_of


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("10.0.0.1:2005", Peer("10.0.0.1", 2005)),
        ("tcp://node-1:2005", Peer("node-1", 2005)),
        ("[::1]:2005", Peer("::1", 2005)),
        ("dns://carbonquota.metrics.svc:2005", Peer("carbonquota.metrics.svc", 2005, every_address=True)),
    ],
)
def test_a_peer_is_read_as_it_is_written(text: str, peer: Peer) -> None:
    assert peer_of(text) == peer
    assert str(peer) == text.removeprefix("tcp://")


@pytest.mark.parametrize("text", ["", "host", ":2005", "host:", "host:0", "host:70000", "host:x", "dns://:5"])
def test_what_is_no_peer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f'"{text}" is no host:port, nor dns://name:port'):
        peer_of(text)


def test_every_address_of_a_name_is_a_peer_and_a_failed_look_up_changes_nothing() -> None:
    answers: dict[str, list[str]] = {"nodes": ["10.0.0.1", "fd00::2"]}

    def look_up(name: str) -> Iterable[str]:
        if name not in answers:
            raise OSError(-2, "Name or service not known")
        return answers[name]

    peers = [peer_of("dns://nodes:2005"), peer_of("10.0.0.9:2006")]
    first, failures = endpoints(peers, look_up, frozenset())
    assert first == {"tcp://10.0.0.1:2005", "tcp://[fd00::2]:2005", "tcp://10.0.0.9:2006"}
    assert failures == []
    answers["nodes"] = ["10.0.0.3"]
    second, _ = endpoints(peers, look_up, first)
    assert second == {"tcp://10.0.0.3:2005", "tcp://10.0.0.9:2006"}
    del answers["nodes"]
    third, failures = endpoints(peers, look_up, second)
    assert third == second
    assert failures == ["nodes: Name or service not known"]
