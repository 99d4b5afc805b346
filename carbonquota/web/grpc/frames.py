"""HTTP/2's frames as bytes (RFC 9113, section 4), as far as a server of calls needs them."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_SIZE: Final = 9
MOST_FRAME: Final = 16_384
"""Bytes that a frame may have, as we leave it at the protocol's default for both sides."""
DEFAULT_WINDOW: Final = 65_535
MOST_WINDOW: Final = 2**31 - 1


class FrameType(IntEnum):
    """The kinds of frames; others are to be ignored."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class ErrorCode(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    """The settings that are looked at."""

    HEADER_TABLE_SIZE = 1
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


END_STREAM: Final = 1
ACK: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
PRIORITY: Final = 32

_HEADER: Final = struct.Struct(">HBBBI")
_WORD: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")


class Http2Error(Exception):
    """The other side breaks the protocol, or takes too long: the connection ends with this code."""

    def __init__(self, code: ErrorCode, why: str) -> None:
        """`why` is for the debug data of GOAWAY."""
        super().__init__(why)
        self.code = code
        self.why = why


def frame(kind: FrameType, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    size = len(payload)
    return _HEADER.pack(size >> 8, size & 255, kind, flags, stream) + payload


def read_header(data: bytes | bytearray, at: int) -> tuple[int, int, int, int]:
    """Length, kind, flags and stream of the frame that begins at `at`."""
    high, low, kind, flags, stream = _HEADER.unpack_from(data, at)
    return high << 8 | low, kind, flags, stream & MOST_WINDOW


def settings_frame(values: dict[Setting, int]) -> bytes:
    """Our settings."""
    return frame(FrameType.SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings of the other side; Http2Error where they are cut."""
    if len(payload) % _SETTING.size:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    return list(_SETTING.iter_unpack(payload))


def window_update(stream: int, more: int) -> bytes:
    """Room for so many bytes more; stream 0 is the connection."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream, _WORD.pack(more))


def read_word(payload: bytes) -> int:
    """The 31 bits of a WINDOW_UPDATE or RST_STREAM; Http2Error where it has another length."""
    if len(payload) != _WORD.size:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a frame of a wrong length")
    return int(_WORD.unpack(payload)[0])


def reset(stream: int, code: ErrorCode) -> bytes:
    """The end of a stream."""
    return frame(FrameType.RST_STREAM, 0, stream, _WORD.pack(code))


def goaway(last: int, code: ErrorCode, why: str = "") -> bytes:
    """No stream after `last` is looked at."""
    return frame(FrameType.GOAWAY, 0, 0, _WORD.pack(last) + _WORD.pack(code) + why.encode())


def without_padding(payload: bytes, flags: int) -> bytes:
    """What a DATA or HEADERS frame bears; Http2Error where it is more padding than frame."""
    skip = 0
    if flags & PADDED:
        if not payload or payload[0] >= len(payload):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "more padding than there is frame")
        payload = payload[1 : len(payload) - payload[0]]
    if flags & PRIORITY:
        skip = 5
        if len(payload) < skip:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without room for their priority")
    return payload[skip:] if skip else payload
