"""Bounds what a request's body may have, before any of it is read into memory."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

UNKNOWN: Final = 65_536
"""Bytes from somebody who is not known: a login, and no more."""
KNOWN: Final = 32 * 1024 * 1024
"""Bytes from anybody else."""


def bounded(receive: Receive, most: int) -> Receive:
    """Receive so many bytes of a body; what is more is 413."""
    taken = 0

    async def receive_some() -> Message:
        """The next part."""
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise HTTPException(413, f"the body has more than {most:,} bytes: send it in parts")
        return message

    return receive_some
