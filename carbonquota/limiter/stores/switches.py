"""Who is denied, and which brownouts are on, for several limiters together: kept in their store, and read from there.

Theory of operation. What changes here is noted, and written to one hash with the next step; then what stands there is
taken over, but for what changed here meanwhile. Each write counts up a version, so a step that finds nothing new is one
short round trip. A store that has forgotten its version has forgotten all, and is told again what holds here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from threading import Lock
from typing import Any, Final

from valkey.exceptions import ValkeyError

from carbonquota.limiter.abuse import Ban, BanEvent, Bans, Brownout, Dimming
from carbonquota.model import Clock

_BAN: Final = "ban:"
_DIMMING: Final = "dim:"
_KEPT: Final = 60.0
"""Seconds after its end when something is taken out of the store."""
_LIFE: Final = 400 * 86_400
"""Seconds after the last change when the store forgets: nothing here lasts longer than a year."""


class SharedSwitches:
    """Keeps bans and brownouts as the store has them. `step` is called every second or so, on any one thread."""

    def __init__(self, connect: Callable[[], Any], name: str, bans: Bans, brownout: Brownout, clock: Clock) -> None:
        """`name` tells those apart that share a server; `clock` gives seconds since the epoch."""
        self._connect = connect
        self._client: Any = None
        self._key = f"{{cql:{name}}}:switches"
        self._bans = bans
        self._brownout = brownout
        self._clock = clock
        self._lock = Lock()
        self._changed: dict[str, str | None] = {}
        self._version = 0
        bans.listen(self._note_ban)
        brownout.listen(self._note_dimming)

    def step(self) -> bool:
        """Tell what changed here, and take over what changed elsewhere; False where the store is away."""
        try:
            if self._client is None:
                self._client = self._connect()
            self._exchange(self._client)
        except (ValkeyError, OSError):
            self.close()
            return False
        return True

    def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(ValkeyError, OSError):
                client.close()

    def _exchange(self, client: Any) -> None:  # noqa: ANN401 - the library's own
        version = int(client.get(f"{self._key}:version") or 0)
        if version < self._version:
            self._note_all()
        with self._lock:
            changed = self._changed.copy()
        if changed:
            version = self._write(client, changed)
        if version != self._version:
            self._take(client.hgetall(self._key))
            self._version = version

    def _write(self, client: Any, changed: dict[str, str | None]) -> int:  # noqa: ANN401 - the same
        """Write changes, and forget that they are to be written; the version since."""
        pipeline = client.pipeline()
        for field, value in changed.items():
            name = field.encode("utf-8", "surrogatepass")
            if value is None:
                pipeline.hdel(self._key, name)
            else:
                pipeline.hset(self._key, name, value)
        pipeline.expire(self._key, _LIFE)
        pipeline.incr(f"{self._key}:version")
        pipeline.expire(f"{self._key}:version", _LIFE)
        version: int = pipeline.execute()[-2]
        with self._lock:
            for field, value in changed.items():
                if field in self._changed and self._changed[field] == value:
                    del self._changed[field]
        return version

    def _take(self, found: dict[bytes, bytes]) -> None:
        """Have what stands in the store hold here, but for what is to be written yet."""
        bans, dimmings, now = dict[str, Ban](), dict[str, Dimming](), self._clock()
        for name, value in found.items():
            field = name.decode("utf-8", "surrogatepass")
            until, *rest = json.loads(value)
            if until <= now:
                if until <= now - _KEPT:
                    self._note(field, None)
                continue
            if field.startswith(_BAN):
                client = field.removeprefix(_BAN)
                bans[client] = Ban(client, until, *rest)
            else:
                tier = field.removeprefix(_DIMMING)
                dimmings[tier] = Dimming(tier, Fraction(*rest), until)
        with self._lock:
            changed = frozenset(self._changed)
        self._bans.take_over(bans, frozenset(one.removeprefix(_BAN) for one in changed if one.startswith(_BAN)))
        self._brownout.take_over(
            dimmings, frozenset(one.removeprefix(_DIMMING) for one in changed if one.startswith(_DIMMING))
        )

    def _note_all(self) -> None:
        """What holds here is to be written anew."""
        for ban in self._bans.listed():
            self._note(_BAN + ban.client, _of_ban(ban))
        for dimming in self._brownout.listed():
            self._note(_DIMMING + dimming.tier, _of_dimming(dimming))

    def _note_ban(self, event: BanEvent) -> None:
        # One that has ended may have been made anew elsewhere, so it is left where it is.
        if event.what != "ended":
            self._note(_BAN + event.ban.client, _of_ban(event.ban) if event.what == "banned" else None)

    def _note_dimming(self, tier: str, dimming: Dimming | None) -> None:
        self._note(_DIMMING + tier, None if dimming is None else _of_dimming(dimming))

    def _note(self, field: str, value: str | None) -> None:
        with self._lock:
            self._changed[field] = value


def _of_ban(ban: Ban) -> str:
    return json.dumps([ban.until, ban.by, ban.reason])


def _of_dimming(dimming: Dimming) -> str:
    return json.dumps([dimming.until, dimming.factor.numerator, dimming.factor.denominator])
