"""A coroutine that is begun at once goes on as one that is awaited would."""

from __future__ import annotations

import asyncio

import pytest

from carbonquota.limiter.faces.eager import begin


async def sum_of(*futures: asyncio.Future[int]) -> int:
    total = 0
    for one in futures:
        try:
            total += await one
        except KeyError:
            total += 100
    return total


def test_what_waits_for_nothing_has_its_value_at_once() -> None:
    assert begin(sum_of()) == (0,)


def test_what_waits_goes_on_when_it_may_with_values_and_errors() -> None:
    async def main() -> int:
        futures: list[asyncio.Future[int]] = [asyncio.get_running_loop().create_future() for _ in range(3)]
        rest = begin(sum_of(*futures))
        assert not isinstance(rest, tuple)
        task = asyncio.ensure_future(rest)
        await asyncio.sleep(0)
        futures[0].set_result(1)
        futures[1].set_exception(KeyError())
        await asyncio.sleep(0)
        futures[2].set_result(2)
        return await task

    assert asyncio.run(main()) == 103


def test_it_can_be_cancelled_and_its_errors_come_out() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one: asyncio.Future[int] = loop.create_future()
        rest = begin(sum_of(one))
        assert not isinstance(rest, tuple)
        task = asyncio.ensure_future(rest)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert one.cancelled()
        two: asyncio.Future[int] = loop.create_future()
        rest = begin(sum_of(two))
        assert not isinstance(rest, tuple)
        two.set_exception(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await rest
        with pytest.raises(ZeroDivisionError):
            begin(sum_of(two))

    asyncio.run(main())
