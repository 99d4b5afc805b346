"""Bearer tokens: the claims of those that are genuine, remembered until they end.

A signature takes some hundreds of microseconds to check, and a client sends the same token again and again. So a token
that was found genuine is known by its text until it expires, or some minutes have passed, for keys may be taken out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final

_MOST: Final = 16_384
_LONGEST: Final = 8_192
"""Characters of a token that is looked at."""
_TRUST: Final = 300.0
"""Seconds that a token is taken for genuine without looking at its signature again."""

Claims = Mapping[str, Any]


class TokenVerifier:
    """Remembers what another verifier found. May be used from any thread."""

    def __init__(self, verify: Callable[[str], Claims | None], clock: Callable[[], float]) -> None:
        """`verify` gives the claims of a token that is genuine and in force; `clock` seconds since the epoch."""
        self._verify = verify
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Claims]] = OrderedDict()
        self._lock = Lock()

    def verify(self, token: str) -> Claims | None:
        """The claims of a genuine token; None of any other."""
        if len(token) > _LONGEST:
            return None
        now = self._clock()
        known = self._known.get(token)
        if known is not None and now < known[0]:
            return known[1]
        claims = self._verify(token)
        with self._lock:
            if claims is None:
                self._known.pop(token, None)
                return None
            self._known[token] = min(now + _TRUST, float(claims.get("exp", now))), claims
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return claims
