"""Large pages: made one at a time, shared by all who wait, and held by no slow reader for ever."""

from __future__ import annotations

import asyncio
import gzip
import random
import threading
import time
from collections.abc import Iterator

import pytest

from carbonquota.daemon.http import make_app
from carbonquota.web.shared_page import Page
from tests.support.http import Client, client_of, engine_with_names, source_of

TEXT = [b"line %d of a page\n" % number * 50 for number in range(2000)]


async def joined(page: Page, *, packed: bool = False) -> bytes:
    return b"".join([piece async for piece in (page.packed() if packed else page.expanded())])


@pytest.mark.parametrize("pieces", [[], [b""], [b"one"], TEXT, [random.Random(1).randbytes(1_000_000)]], ids=len)
def test_a_page_is_what_it_was_made_of(pieces: list[bytes]) -> None:
    page = Page(pieces)
    assert asyncio.run(joined(page)) == b"".join(pieces)
    assert gzip.decompress(asyncio.run(joined(page, packed=True))) == b"".join(pieces)


def test_a_page_takes_a_small_part_of_its_size_and_is_sent_in_small_parts() -> None:
    async def largest(page: Page) -> int:
        return max([len(piece) async for piece in page.expanded()])

    page = Page(TEXT)
    assert len(page) * 20 < sum(map(len, TEXT))
    assert asyncio.run(largest(page)) <= 65_536


def test_who_reads_a_page_that_was_let_go_is_cut_off() -> None:
    async def read() -> None:
        page = Page([random.Random(number).randbytes(100_000) for number in range(10)])
        pieces = page.expanded()
        await anext(pieces)
        page.let_go()
        assert len(page) == 0
        with pytest.raises(ConnectionAbortedError):
            async for _ in pieces:
                pass

    asyncio.run(read())


class Pages:
    """Numbered pages, each made in a while."""

    def __init__(self) -> None:
        self.made = 0
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self) -> Iterator[bytes]:
        with self._lock:
            self.made += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        yield b"page %d\n" % self.made
        time.sleep(0.2)
        with self._lock:
            self.at_once -= 1


def test_pages_are_made_one_at_a_time_and_shared_by_all_who_wait() -> None:
    pages = Pages()
    client = client_of(source_of(engine_with_names(), metrics=pages))
    answers = client.get_together("/metrics", 20)
    assert {answer.status_code for answer in answers} == {200}
    # At most one that was begun when the first asked, and one that was begun when all had.
    made = pages.made
    assert made <= 2
    assert pages.most_at_once == 1
    assert client.get("/metrics").text == f"page {made + 1}\n", "nobody gets what is older than the question"


def test_gzip_goes_to_who_takes_it() -> None:
    client = Client(make_app(source_of(engine_with_names())))
    plain = client.request("GET", "/metrics", headers={"Accept-Encoding": "identity"})
    packed = client.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text == "up 1\n"
    assert packed.headers["content-type"] == plain.headers["content-type"]


def test_a_bug_in_one_page_is_not_told_again_with_the_next() -> None:
    failing = [True]

    def page() -> Iterator[bytes]:
        if failing.pop():
            raise ZeroDivisionError
        yield b"well\n"

    failing[:] = [False, True]
    client = client_of(source_of(engine_with_names(), metrics=page))
    assert client.get("/metrics").status_code == 500
    assert client.get("/metrics").text == "well\n"
