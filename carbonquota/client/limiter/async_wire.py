"""A request to one node over HTTP for asyncio, on connections that are kept for the next."""

from __future__ import annotations

from typing import Any, Final

import httpx

from carbonquota.client.limiter.exchange import SentDocument
from carbonquota.client.limiter.values import LimiterAwayError
from carbonquota.client.limiter.wire import MOST_KEPT, body_of, read_answer

_TRIES: Final = 2
"""A node may close a connection that was idle just when it is used again: then another is opened."""


class AsyncDocumentSender:
    """Sends documents. Used on one event loop."""

    def __init__(self, timeout: float) -> None:
        """A node may take `timeout` seconds to be reached, and again to answer."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=MOST_KEPT)
        # Not by way of a proxy that the environment names: nodes are in one's own network.
        self._client = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def send(self, sent: SentDocument) -> Any:  # noqa: ANN401 - JSON
        """As `DocumentSender.send`."""
        body = body_of(sent)
        for left in reversed(range(_TRIES)):
            try:
                answer = await self._client.post(
                    f"http://{sent.node}{sent.path}", content=body, headers={"Content-Type": "application/json"}
                )
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if not left:
                    raise LimiterAwayError(f"{sent.node}: {str(error) or type(error).__name__}") from None
            except httpx.HTTPError as error:
                raise LimiterAwayError(f"{sent.node}: {str(error) or type(error).__name__}") from None
            else:
                return read_answer(sent.node, answer.status_code, answer.content)
        raise AssertionError("the last try returns or raises")
