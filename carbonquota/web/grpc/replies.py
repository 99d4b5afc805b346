"""Answers of calls as the payloads of HTTP/2 frames, and messages out of their bodies.

A gRPC call is a head, messages with a prefix of five bytes each, and a trailer with a status (gRPC over HTTP/2).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple
from urllib.parse import quote

PREFIX: Final = struct.Struct(">BI")
"""Whether a message is compressed, and its length."""
_HEAD: Final = b"\x88\x0f\x10\x10application/grpc"
"""HPACK for `:status: 200` and the content type; neither goes into the client's table."""
_STATUS: Final = b"\x00\x0bgrpc-status"
_MESSAGE: Final = b"\x00\x0cgrpc-message"
_OK: Final = _STATUS + b"\x010"
_LONGEST: Final = 900
"""Bytes of a complaint as they are sent."""


class GrpcStatus(IntEnum):
    """What became of a call that got no answer."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class MessageError(ValueError):
    """A message that is none, or not one that is taken here, with what is wrong with it."""


class Parts(NamedTuple):
    """The payloads of an answer: head, message, trailer; without a message the head is all."""

    head: bytes
    body: bytes = b""
    tail: bytes = b""


NOT_GRPC: Final = Parts(b"\x08\x03415")
"""HPACK for `:status: 415`."""


def success(message: bytes) -> Parts:
    """The answer that a message is."""
    return Parts(_HEAD, PREFIX.pack(0, len(message)) + message, _OK)


def failure(status: GrpcStatus, why: str) -> Parts:
    """The answer of a call that failed."""
    code = str(int(status)).encode()
    text = _escaped(why)
    return Parts(_HEAD + _STATUS + bytes([len(code)]) + code + _MESSAGE + _length(len(text)) + text)


def _escaped(why: str) -> bytes:
    """A complaint as gRPC writes it, cut where no escape is."""
    text = quote(why, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
    if len(text) > _LONGEST:
        text = text[:_LONGEST]
        text = text[: text.rfind("%")] if "%" in text[-2:] else text
    return text.encode()


def _length(size: int) -> bytes:
    """The length of a string in HPACK (RFC 7541, section 5.1), not Huffman coded."""
    if size < 127:
        return bytes([size])
    size -= 127
    more = bytearray([127])
    while size >= 128:
        more.append(size & 127 | 128)
        size >>= 7
    return bytes([*more, size])


def message_of(body: bytes, *, is_plain: bool = True) -> bytes:
    """The one message of a call; MessageError where it is cut, NotImplementedError where it is compressed."""
    if len(body) < PREFIX.size:
        raise MessageError("the call has no whole message")
    compressed, length = PREFIX.unpack_from(body)
    if compressed or not is_plain:
        raise NotImplementedError("compressed messages are not read here: send them as identity")
    if len(body) != PREFIX.size + length:
        raise MessageError("the call is not one whole message")
    return body[PREFIX.size :]
