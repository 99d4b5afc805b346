"""Large pages, made one at a time and shared by all who wait for them, and sent piece by piece.

Theory of operation. While a page is made, all who ask for it wait for the next one, so nobody gets what is older than
the question. A page is kept compressed, some hundredths of its size; who takes gzip gets it as it is, and for others
each piece is expanded as it is sent. A client that reads slowly holds on to its page. Of pages that are held so, only
the last few stay: an older one is let go, and its clients are cut off.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from weakref import ref

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

_MOST_HELD: Final = 4
"""Pages that slow clients may hold on to."""
_PIECE: Final = 65_536
"""Bytes that are expanded at once."""
_GZIP: Final = 31
"""What zlib calls the format of gzip."""


class Page:
    """One page, as the compressed pieces of one gzip stream."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Compress these, one after the other."""
        compressor = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        self._pieces = [packed for piece in pieces if (packed := compressor.compress(piece))]
        self._pieces.append(compressor.flush())

    def __len__(self) -> int:
        """The bytes that it takes."""
        return sum(map(len, self._pieces))

    def let_go(self) -> None:
        """Take no memory any more; who still reads it is cut off."""
        self._pieces.clear()

    async def packed(self) -> AsyncIterator[bytes]:
        """Its pieces as they are; ConnectionAbortedError where it was let go."""
        number, count = 0, len(self._pieces)
        while number < count:
            if not self._pieces:
                raise ConnectionAbortedError("the page was let go")
            yield self._pieces[number]
            number += 1

    async def expanded(self) -> AsyncIterator[bytes]:
        """The same, as it was before it was compressed."""
        decompressor = zlib.decompressobj(_GZIP)
        async for packed in self.packed():
            waiting = packed
            while waiting:
                if piece := decompressor.decompress(waiting, _PIECE):
                    yield piece
                waiting = decompressor.unconsumed_tail
        if rest := decompressor.flush():
            yield rest


class SharedPage:
    """A page that anybody may ask for at any time. Used on one event loop."""

    def __init__(self, content_type: str, make: Callable[[], Iterable[bytes]]) -> None:
        """`make` gives its pieces, on a thread that makes nothing else meanwhile."""
        self._content_type = content_type
        self._make = make
        self._thread = ThreadPoolExecutor(1, "http-page")
        self._making: asyncio.Task[Page] | None = None
        self._next: asyncio.Task[Page] | None = None
        self._held: list[ref[Page]] = []

    async def answer(self, request: Request) -> Response:
        """The page as it is now, or a moment later."""
        if request.method == "HEAD":
            return Response(headers={"Content-Type": self._content_type})
        page = await self._page()
        takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"Content-Type": self._content_type, "Vary": "Accept-Encoding"}
        if takes_gzip:
            return StreamingResponse(page.packed(), headers=headers | {"Content-Encoding": "gzip"})
        return StreamingResponse(page.expanded(), headers=headers)

    async def _page(self) -> Page:
        """The page that is begun next."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_task(self._make_after(self._making))
        return await asyncio.shield(self._next)

    async def _make_after(self, before: asyncio.Task[Page] | None) -> Page:
        """Make the page once the one before is made."""
        if before is not None and not before.done():
            await asyncio.wait((before,))
        self._making, self._next = self._next, None
        self._let_go_of_old()
        page = await asyncio.get_running_loop().run_in_executor(self._thread, lambda: Page(self._make()))
        self._held.append(ref(page))
        return page

    def _let_go_of_old(self) -> None:
        """Let only the last few pages be held, and leave room for one more."""
        held = [page for one in self._held if (page := one()) is not None]
        for page in held[: 1 - _MOST_HELD]:
            page.let_go()
        self._held = [ref(page) for page in held[1 - _MOST_HELD :]]
