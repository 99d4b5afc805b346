"""examples/object_store.py: users and buckets are held to operations and bytes, all or nothing over both."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.testing import ManualClock

EXAMPLE = Path(__file__).parents[2] / "examples" / "object_store.py"
NAMES: dict[str, Any] = runpy.run_path(str(EXAMPLE))
MB = 1_000_000


def limiter(clock: ManualClock) -> Limiter:
    rules = EXAMPLE.with_suffix(".yaml")
    return Limiter(DomainRules.from_text(rules.read_text(), str(rules)), clock=clock)


def test_operations_and_bytes_of_users_and_buckets() -> None:
    async def main() -> None:
        clock = ManualClock(1_000_000.0)
        transport = httpx.ASGITransport(NAMES["make_app"](limiter(clock)))
        async with httpx.AsyncClient(transport=transport, base_url="http://store.example") as client:

            def does(method: str, user: str, path: str, size: int = 0) -> Awaitable[httpx.Response]:
                return client.request(method, path, headers={"x-user": user}, content=bytes(size))

            # A user's bytes: 20 MB at once, 10 MB a second. What is too much takes nothing.
            assert (await does("PUT", "ada", "/b/one", 15 * MB)).status_code == 204
            refused = await does("PUT", "ada", "/b/two", 6 * MB)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert (await does("GET", "ada", "/b/two")).status_code == 404
            assert (await does("PUT", "ada", "/b/two", 5 * MB)).status_code == 204
            # A bucket's bytes: 30 MB at once. Ada's refused 6 MB were not charged to it, so there is room for 10 MB.
            assert (await does("PUT", "bob", "/b/three", 10 * MB)).status_code == 204
            assert (await does("PUT", "bob", "/b/four", 1 * MB)).status_code == 503
            # And what the bucket refused took nothing from Bob, who has 10 MB left elsewhere.
            assert (await does("PUT", "bob", "/c/four", 10 * MB)).status_code == 204
            clock.advance(1.0)
            assert (await does("PUT", "ada", "/b/five", 10 * MB)).status_code == 204
            # Operations: 40 writes at once by a user, whatever their size; reads are counted apart.
            assert [(await does("DELETE", "eve", f"/d/{n}")).status_code for n in range(41)] == [204] * 40 + [503]
            assert (await does("GET", "eve", "/b/one")).status_code == 200
            assert len((await does("GET", "eve", "/b/one")).content) == 15 * MB

    asyncio.run(main())


def test_nothing_is_let_in_over_a_limit_by_many_at_once() -> None:
    clock = ManualClock(1_000_000.0)
    one = limiter(clock)
    question: Callable[..., Any] = NAMES["question"]
    # Each user may write 40 times at once, and the bucket 100 times.
    allowed = [one.check(question(f"user {n % 5}", "b", "write", 1_000)).allowed for n in range(1_000)]
    assert sum(allowed) == 100
    assert sum(one.check(question("user 0", f"bucket {n}", "write", 1_000)).allowed for n in range(100)) == 20
