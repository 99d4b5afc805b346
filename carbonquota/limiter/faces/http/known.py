"""What requests were found to be lately, so that who asks the same again is answered without reading it again.

A gateway asks about one client's requests in the same words but for what nobody looks at, and often in the very same
words. So there are two ways to know a request again: by the fields that are looked at, and, where a whole request came
in one piece, by all of its bytes, which spares the parser.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, TypeVar

from carbonquota.limiter.faces.http.replies import HttpRequest
from carbonquota.limiter.identity.resolve import Identified

_Key = TypeVar("_Key")

_MOST: Final = 8_192
_LONGEST_FIELDS: Final = 1_024
"""Bytes of what is looked at of a request that is remembered."""
_LONGEST: Final = 2_048
"""Bytes of a whole request that is remembered."""


class KnownRequests:
    """A bounded memory, the oldest forgotten first. Used on one thread, but for `clear`."""

    def __init__(self) -> None:
        self._by_fields: OrderedDict[Hashable, Identified] = OrderedDict()
        self._by_bytes: OrderedDict[tuple[bytes, str], Identified] = OrderedDict()

    def find(self, request: HttpRequest) -> Identified | None:
        """What a request is, by its fields."""
        return self._by_fields.get(_fields_of(request))

    def keep(self, request: HttpRequest, found: Identified) -> None:
        """Remember what a request is by its fields."""
        if request.size <= _LONGEST_FIELDS:
            _put(self._by_fields, _fields_of(request), found)

    def find_bytes(self, data: bytes, peer: str) -> Identified | None:
        """What a whole request is, by its bytes."""
        return self._by_bytes.get((data, peer))

    def keep_bytes(self, data: bytes, request: HttpRequest) -> None:
        """Remember a request by its bytes, too, where it is remembered by its fields."""
        if len(data) <= _LONGEST and not request.body and (found := self.find(request)) is not None:
            _put(self._by_bytes, (data, request.peer), found)

    def clear(self) -> None:
        """Forget all: who a request is from may have changed."""
        self._by_fields.clear()
        self._by_bytes.clear()


def _fields_of(request: HttpRequest) -> Hashable:
    return request.method, request.target, request.peer, request.raw


def _put(known: OrderedDict[_Key, Identified], key: _Key, found: Identified) -> None:
    known[key] = found
    if len(known) > _MOST:
        known.popitem(last=False)
