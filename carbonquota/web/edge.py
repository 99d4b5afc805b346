"""The edge of the HTTP interface: what a bug raises is logged and counted, and answered without a word of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from threading import Lock
from time import monotonic

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HealthSample
from carbonquota.web.problems import problem


class BugCount:
    """How many bugs were survived."""

    def __init__(self) -> None:
        """Start with none."""
        self._count = 0
        self._lock = Lock()

    def add(self) -> None:
        """Count one more."""
        with self._lock:
            self._count += 1

    def health(self) -> Iterator[HealthSample]:
        """The count."""
        yield HealthSample("internal_errors", self._count, "http")


class Edge:
    """An application around another: it answers where that one raises, or is cancelled, before it has begun to."""

    def __init__(self, app: ASGIApp, bugs: BugCount, program: str = "daemon") -> None:
        """Go around `app`, counting `bugs`; `program` is what answers are told of."""
        self._app = app
        self._program = program
        self._bugs = bugs
        self._log = BoundedLog(logging.getLogger(__name__), monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = gone = False

        async def send_on(message: Message) -> None:
            nonlocal begun, gone
            begun = True
            try:
                await send(message)
            except OSError:
                gone = True
                raise

        try:
            await self._app(scope, receive, send_on)
        except asyncio.CancelledError:
            # The server ends, and has waited for this one as long as it could.
            status, detail = 503, f"the {self._program} is ending"
        except Exception:  # noqa: BLE001 - the edge
            if gone:
                # The client went, or was too slow: there is nobody to tell, and no bug.
                return
            self._bugs.add()
            self._log.exception("bug", "HTTP: a bug kept %s from being answered", scope.get("path", ""))
            status, detail = 500, f"a bug kept this from being answered: see the {self._program}'s log"
        else:
            return
        if not begun:
            await problem(status, detail)(scope, receive, send)
