"""A request to one node over HTTP, on connections that are kept for the next."""

from __future__ import annotations

import http.client
import json
from threading import Lock
from typing import Any, Final

from carbonquota.client.limiter.exchange import SentDocument
from carbonquota.client.limiter.values import LimiterAwayError
from carbonquota.errors import InputError

_LARGEST: Final = 16_777_216
MOST_KEPT: Final = 64
"""Idle connections to a node."""


def body_of(sent: SentDocument) -> bytes:
    """The bytes of a request's body."""
    return json.dumps(sent.document, separators=(",", ":")).encode()


def read_answer(node: str, status: int, text: bytes) -> Any:  # noqa: ANN401 - JSON
    """The document of an answer, None where it has none.

    LimiterAwayError where the node cannot answer now or is no limiter; InputError where it refuses what it is asked.
    """
    if status >= 500:
        raise LimiterAwayError(f"{node}: it answers {status}")
    if status >= 400:
        raise InputError(f"{node}: it refuses the question ({status}): {text[:300].decode(errors='replace')}")
    try:
        return json.loads(text) if text else None
    except ValueError:
        raise LimiterAwayError(f"{node}: what answers there is no limiter") from None


class DocumentSender:
    """Sends documents. May be used from any thread."""

    def __init__(self, timeout: float) -> None:
        """A node may take `timeout` seconds to be reached, and again to answer."""
        self._timeout = timeout
        self._kept: dict[str, list[http.client.HTTPConnection]] = {}
        self._lock = Lock()
        self._is_closed = False

    def close(self) -> None:
        """Keep no connections, from now on."""
        with self._lock:
            self._is_closed = True
            kept, self._kept = self._kept, {}
        for connections in kept.values():
            for connection in connections:
                connection.close()

    def send(self, sent: SentDocument) -> Any:  # noqa: ANN401 - JSON
        """The document that a node answers, None where it answers nothing.

        LimiterAwayError where it does not answer, or not in time; InputError where it refuses what it is asked.
        """
        try:
            status, text = self._ask(sent.node, sent.path, body_of(sent))
        except (OSError, http.client.HTTPException) as error:
            raise LimiterAwayError(f"{sent.node}: {str(error) or type(error).__name__}") from None
        return read_answer(sent.node, status, text)

    def _ask(self, node: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body; a connection that was kept too long is made anew."""
        connection = self._take(node)
        if connection is not None:
            try:
                return self._exchange(node, connection, path, body)
            except (http.client.RemoteDisconnected, ConnectionError):
                # Nothing was read of an answer: the node closed a connection that was idle.
                connection.close()
        host, _, port = node.rpartition(":")
        fresh = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=self._timeout)
        return self._exchange(node, fresh, path, body)

    def _take(self, node: str) -> http.client.HTTPConnection | None:
        with self._lock:
            kept = self._kept.get(node)
            return kept.pop() if kept else None

    def _keep(self, node: str, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            kept = self._kept.setdefault(node, [])
            if len(kept) < MOST_KEPT and not self._is_closed:
                kept.append(connection)
                return
        connection.close()

    def _exchange(self, node: str, connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read(_LARGEST)
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            self._keep(node, connection)
        return answer.status, text
