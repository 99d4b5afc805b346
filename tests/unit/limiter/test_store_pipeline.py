"""The limiter's own connection to its store: whoever asks hears something, whatever becomes of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace

import pytest
from valkey.exceptions import ResponseError

from carbonquota.cluster.store import StoreError
from carbonquota.limiter.stores.pipeline import Pipeline, ReadyTransport

WITHIN = 20.0
"""Seconds in which an answer must come."""


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A store that answers each command of one line."""
    # The loop's end cancels it.
    with suppress(ConnectionResetError, asyncio.CancelledError):
        while await reader.readline():
            writer.write(b":1\r\n")
    writer.close()


async def connected(port: int) -> ReadyTransport:
    """A connection to it, as the client library leaves one that has logged in."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    return ReadyTransport(
        SimpleNamespace(_writer=writer, _reader=None, _parser=SimpleNamespace(parse_error=ResponseError))
    )


async def asked(pipeline: Pipeline) -> object:
    """What it hears who asks."""
    answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    pipeline.ask(b"PING\r\n", answer.set_result)
    return await asyncio.wait_for(answer, WITHIN)


async def heard(first: Callable[[int], Awaitable[ReadyTransport]], bugs: list[str]) -> tuple[object, object]:
    """What those hear who ask over a connection that is made by `first`, and then over a good one."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: bugs.append(str(context["exception"])))
    async with await asyncio.start_server(answering, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        attempts = iter((first, connected))
        pipeline = Pipeline(lambda: next(attempts)(port), 5.0, 16, lambda _: None)
        try:
            return await asked(pipeline), await asked(pipeline)
        finally:
            pipeline.close()


async def closed_at_once(port: int) -> ReadyTransport:
    ready = await connected(port)
    ready.transport.abort()
    return ready


async def refused(port: int) -> ReadyTransport:
    raise ConnectionRefusedError(f"nobody listens on {port}".partition(" on")[0])


async def broken(_: int) -> ReadyTransport:
    raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("first", "kind", "words", "told"),
    [
        (closed_at_once, "away", "it closed the connection at once", []),
        (refused, "away", "nobody listens", []),
        (broken, "failed", "a bug", ["a bug"]),
    ],
)
def test_whoever_asks_over_a_connection_that_comes_to_nothing_hears_of_it_and_the_next_are_answered(
    first: Callable[[int], Awaitable[ReadyTransport]], kind: str, words: str, told: list[str]
) -> None:
    bugs: list[str] = []
    error, answer = asyncio.run(heard(first, bugs))
    assert isinstance(error, StoreError)
    assert (error.kind, words in str(error), answer, bugs) == (kind, True, 1, told)
