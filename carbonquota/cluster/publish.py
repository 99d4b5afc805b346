"""The transport of sync mode: ZeroMQ publish/subscribe, without any server.

Each node binds one XPUB socket and connects one SUB socket to every peer. What is published goes to whoever listens
now; a slow or absent peer costs no memory beyond the high-water mark, past which its messages are lost, and later ones
make up for them. With a key, all traffic is encrypted with CURVE, and only who has the key gets in.

This file is a thin shell: it knows sockets, not what the bytes mean. All of it is for one thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils.monitor import parse_monitor_message

from carbonquota.cluster.stock_messages import TO_ONE

_HIGH_WATER: Final = 1_000
"""Messages that wait for a peer."""

_MOST_AT_ONCE: Final = 1_000
"""Messages taken in a row before anything else has its turn."""


@dataclass(frozen=True, slots=True)
class Key:
    """The one pair of CURVE keys of a cluster, each as 40 characters of Z85."""

    public: bytes
    secret: bytes


def key_of(secret: bytes) -> Key:
    """The pair to a secret key; ValueError if it is none."""
    try:
        return Key(zmq.curve_public(secret), secret)
    except (ValueError, zmq.ZMQError) as error:
        raise ValueError("no CURVE secret key, which has 40 characters of Z85") from error


class _OnlyKey:
    """Lets in who has the cluster's key."""

    def __init__(self, key: Key) -> None:
        self._public = key.public

    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002 - the library's interface
        """Whether the peer that proved to have this public key gets in; `key` is in Z85."""
        return key == self._public


class Publisher:
    """The sockets of one node."""

    def __init__(
        self, listen: str, longest: int, key: Key | None = None, own: bytes = b"", reconnect: float = 0.05
    ) -> None:
        """Listen at an endpoint, such as tcp://127.0.0.1:2005; OSError (zmq.ZMQError) where that cannot be.

        Longer messages than of `longest` bytes make their sender be cut off. Of messages that begin with `TO_ONE`, only
        those come that go on with `own`. A connection that ends is tried anew every `reconnect` seconds, or twice that.
        """
        self._reconnect = max(round(reconnect * 1000), 10)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._key = key
        self._authenticator: Any = None
        if key is not None:
            self._authenticator = ThreadAuthenticator(self._context)
            self._authenticator.start()
            self._authenticator.configure_curve_callback(domain="*", credentials_provider=_OnlyKey(key))
        self._out = self._socket(zmq.XPUB)
        self._in = self._socket(zmq.SUB)
        self._in.setsockopt(zmq.MAXMSGSIZE, longest)
        # All but what is for other nodes: that is not even sent then.
        for topic in (*(bytes([first]) for first in range(256) if first != TO_ONE[0]), TO_ONE + own):
            self._in.setsockopt(zmq.SUBSCRIBE, topic)
        self._out.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._wanted: set[str] = set()
        self.connected: set[str] = set()
        """The peers that are heard now, of those that are wanted."""
        self._events: Any = self._in.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._in, zmq.POLLIN)
        self._poller.register(self._out, zmq.POLLIN)
        try:
            self._out.bind(listen)
        except zmq.ZMQError:
            self.close()
            raise
        self.endpoint: str = self._out.getsockopt_string(zmq.LAST_ENDPOINT)
        """Where it listens, with the port that was chosen for 0."""

    def _socket(self, kind: int) -> Any:  # noqa: ANN401 - pyzmq types sockets by what they carry
        """A socket with the options that all have."""
        socket: Any = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, _HIGH_WATER)
        socket.setsockopt(zmq.RCVHWM, _HIGH_WATER)
        socket.setsockopt(zmq.IPV6, 1)
        # Always as soon, so that nodes know all of each other right after a network is whole again.
        socket.setsockopt(zmq.RECONNECT_IVL, self._reconnect)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, 1_000)
        # A peer whose machine went away is noticed, and its connection made anew.
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1_000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3_000)
        if (key := self._key) is not None:
            socket.curve_publickey, socket.curve_secretkey = key.public, key.secret
            if kind == zmq.XPUB:
                socket.curve_server = True
            else:
                socket.curve_serverkey = key.public
        return socket

    def connect_to(self, endpoints: Iterable[str]) -> None:
        """Be connected to these peers, and to no others."""
        wanted = set(endpoints)
        for endpoint in self._wanted - wanted:
            self._in.disconnect(endpoint)
        for endpoint in wanted - self._wanted:
            self._in.connect(endpoint)
        self._wanted = wanted
        self.connected &= wanted

    def retry(self) -> None:
        """Begin anew with the peers that are not heard: the library gives up on one that broke the protocol."""
        for endpoint in self._wanted - self.connected:
            self._in.disconnect(endpoint)
            self._in.connect(endpoint)

    def publish(self, data: bytes) -> None:
        """Send to every peer that listens."""
        self._out.send(data, copy=False)

    def receive(self, timeout: float) -> tuple[list[bytes], bool]:
        """What came within `timeout` seconds, waiting only while there is nothing; whether a peer began to listen."""
        events = dict(self._poller.poll(max(0, round(timeout * 1000))))
        self._follow()
        messages: list[bytes] = []
        while self._in in events and len(messages) < _MOST_AT_ONCE:
            try:
                messages.append(self._in.recv(zmq.NOBLOCK))
            except zmq.Again:
                break
        joined = False
        while self._out in events:
            try:
                joined = self._out.recv(zmq.NOBLOCK)[:1] == b"\1" or joined
            except zmq.Again:
                break
        return messages, joined

    def _follow(self) -> None:
        """Note which peers came and went."""
        while self._events.poll(0):
            event = parse_monitor_message(self._events.recv_multipart())
            endpoint = event["endpoint"].decode()
            if event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.connected.add(endpoint)
            else:
                self.connected.discard(endpoint)

    def close(self) -> None:
        """Close everything; what was not sent yet is not sent."""
        self._in.disable_monitor()
        self._events.close()
        self._out.close()
        self._in.close()
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()
