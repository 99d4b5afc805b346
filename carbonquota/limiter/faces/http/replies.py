"""Requests and replies of the HTTP face as values, and the bytes of a reply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, NamedTuple

from carbonquota.limiter.faces.headers import Header

_LINES: Final = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n" for status in HTTPStatus}
_EMPTY: Final = "content-length: 0\r\n"


class HttpRequest(NamedTuple):
    """A whole request: `raw` has the fields that are wanted, names in small letters."""

    method: str
    target: str
    raw: tuple[tuple[bytes, bytes], ...]
    peer: str
    body: bytes = b""

    @property
    def fields(self) -> dict[str, list[str]]:
        """The values of each field, in the order in which they came."""
        fields: dict[str, list[str]] = {}
        for name, value in self.raw:
            fields.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        return fields

    @property
    def size(self) -> int:
        """The bytes of what is looked at of its head."""
        return len(self.target) + sum(len(value) for _, value in self.raw)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class Reply(NamedTuple):
    """A status, headers and a body of a type; without a type there is no body."""

    status: int
    headers: Sequence[Header] = ()
    body: bytes = b""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class RequestBounds:
    """What a client may send, in bytes, and how long it may take, in seconds."""

    head: int = 32_768
    body: int = 262_144
    patience: float = 10.0
    idle: float = 120.0
    pipelined: int = 64


def problem(status: int, detail: str = "", headers: Sequence[Header] = ()) -> Reply:
    """A reply that says what is wrong, as RFC 9457 has it."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return document_reply(
        status, document | ({"detail": detail} if detail else {}), headers, "application/problem+json"
    )


def document_reply(
    status: int, document: object, headers: Sequence[Header] = (), kind: str = "application/json"
) -> Reply:
    """A reply that is a JSON document."""
    return Reply(status, headers, json.dumps(document, separators=(",", ":")).encode(), kind)


def written(reply: Reply, *, keep_alive: bool, with_body: bool = True) -> bytes:
    """The bytes of a reply; without its body for HEAD."""
    fields = [f"{name}: {value}\r\n" for name, value in reply.headers]
    if reply.kind:
        fields.append(f"content-type: {reply.kind}\r\ncontent-length: {len(reply.body)}\r\n")
    else:
        fields.append(_EMPTY)
    end = "\r\n" if keep_alive else "connection: close\r\n\r\n"
    head = (_LINES[reply.status] + "".join(fields) + end).encode("latin-1", "replace")
    return head + reply.body if reply.body and with_body else head


@dataclass(slots=True)
class Gathered:
    """A request while it comes in."""

    target: list[bytes] = field(default_factory=list)
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: list[bytes] = field(default_factory=list)
    head_size: int = 0
    body_size: int = 0
    expects: bytes = b""
