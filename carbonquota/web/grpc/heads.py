"""The heads of calls, out of HPACK's blocks.

Theory of operation. A client sends the same head for each call, and after the first its block is a few indexes into a
table that both sides keep. So a block is decoded once and remembered, until some block changes the table that all of
them refer to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hpack import Decoder, HeaderTuple, HPACKError
from hpack.table import HeaderTable

from carbonquota.web.grpc.frames import ErrorCode, Http2Error

MOST_HEAD: Final = 32_768
"""Bytes that a head may have, written out."""
_MOST_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class CallHead:
    """What is looked at of a call's head. `is_grpc` tells whether it is a call at all."""

    path: bytes
    is_grpc: bool
    is_plain: bool
    """Its messages are not compressed."""
    authorization: tuple[bytes, ...] = ()
    """Who calls, as the caller says."""


class _WatchedTable(HeaderTable):
    """HPACK's table, which knows whether it was changed."""

    changed = False

    def add(self, name: bytes, value: bytes) -> None:
        """Take an entry in."""
        self.changed = True
        super().add(name, value)


class HeadReader:
    """The decoder of one connection."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MOST_HEAD)
        self._table = self._decoder.header_table = _WatchedTable()
        self._known: dict[bytes, CallHead] = {}

    def read(self, block: bytes) -> CallHead:
        """The head of a block; Http2Error where it is none, for then the tables are no longer the same."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            fields = self._decoder.decode(block, raw=True)
        except (HPACKError, ValueError, IndexError) as error:
            raise Http2Error(ErrorCode.COMPRESSION_ERROR, f"the head cannot be read: {error}") from None
        head = _head_of(fields)
        self._remember(block, head)
        return head

    def _remember(self, block: bytes, head: CallHead) -> None:
        if self._table.changed or _resizes(block):
            self._table.changed = False
            self._known.clear()
        elif len(block) <= 1024:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[block] = head


def _resizes(block: bytes) -> bool:
    """Whether a block begins with a change of the table's size, the only place for one."""
    return bool(block) and block[0] & 0xE0 == 0x20


def _head_of(given: Iterable[HeaderTuple]) -> CallHead:
    fields = dict(given)
    kind = fields.get(b"content-type", b"")
    return CallHead(
        fields.get(b":path", b""),
        fields.get(b":method") == b"POST" and kind.startswith(b"application/grpc"),
        fields.get(b"grpc-encoding", b"identity") == b"identity",
        tuple(value for name, value in given if name == b"authorization"),
    )
