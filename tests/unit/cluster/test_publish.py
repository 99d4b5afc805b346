"""The transport of sync mode over real ZeroMQ sockets on loopback."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
import zmq

from carbonquota.cluster.publish import Key, Publisher, key_of

LONGEST = 1_000


@contextlib.contextmanager
def publisher(key: Key | None = None) -> Iterator[Publisher]:
    node = Publisher("tcp://127.0.0.1:0", LONGEST, key)
    try:
        yield node
    finally:
        node.close()


def new_key() -> Key:
    return key_of(zmq.curve_keypair()[1])


def heard(listener: Publisher, speaker: Publisher, data: bytes, within: float) -> bool:
    """Whether the listener gets the message, which is sent again and again."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        speaker.publish(data)
        if data in listener.receive(0.02)[0]:
            return True
    return False


def test_what_is_published_comes_to_all_who_listen() -> None:
    with publisher() as speaker, publisher() as first, publisher() as second:
        first.connect_to([speaker.endpoint])
        second.connect_to([speaker.endpoint])
        assert heard(first, speaker, b"x", 10)
        assert heard(second, speaker, b"x", 10)


def test_a_peer_that_begins_to_listen_is_noticed() -> None:
    with publisher() as speaker, publisher() as listener:
        assert speaker.receive(0.0) == ([], False)
        listener.connect_to([speaker.endpoint])
        deadline = time.monotonic() + 10
        joined = False
        while not joined and time.monotonic() < deadline:
            joined = speaker.receive(0.05)[1]
        assert joined


def test_who_is_no_peer_any_more_is_not_heard() -> None:
    with publisher() as speaker, publisher() as listener:
        listener.connect_to([speaker.endpoint])
        assert heard(listener, speaker, b"x", 10)
        listener.connect_to([])
        assert not heard(listener, speaker, b"y", 0.5)


def test_with_a_key_only_who_has_it_is_let_in() -> None:
    key = new_key()
    with publisher(key) as speaker, publisher(key) as friend, publisher(new_key()) as stranger, publisher() as nobody:
        for listener in (friend, stranger, nobody):
            listener.connect_to([speaker.endpoint])
        assert heard(friend, speaker, b"x", 10)
        assert not heard(stranger, speaker, b"x", 0.5)
        assert not heard(nobody, speaker, b"x", 0.5)


def test_a_message_that_is_too_long_is_not_taken_and_later_ones_are() -> None:
    with publisher() as speaker, publisher() as listener:
        listener.connect_to([speaker.endpoint])
        assert heard(listener, speaker, b"x", 10)
        assert listener.connected == {speaker.endpoint}
        assert not heard(listener, speaker, b"y" * (LONGEST + 1), 0.3)
        assert listener.connected == set()
        listener.retry()
        assert heard(listener, speaker, b"z", 10)


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    with publisher() as holder, pytest.raises(zmq.ZMQError, match="Address already in use"):
        Publisher(holder.endpoint, LONGEST)


@pytest.mark.parametrize("secret", [b"", b"x", b"short key", b"\xff" * 40], ids=["empty", "x", "short", "not Z85"])
def test_what_is_no_key_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="no CURVE secret key, which has 40 characters of Z85"):
        key_of(secret)
