"""What is known at once, or told later on the event loop: calls that wait for a store without a task each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

_Value = TypeVar("_Value")


def settling(future: asyncio.Future[_Value]) -> Callable[[_Value | Exception], None]:
    """What gives a future its value, or an error that is raised where it is awaited."""

    def settle(value: _Value | Exception) -> None:
        if future.done():
            return
        if isinstance(value, Exception):
            future.set_exception(value)
        else:
            future.set_result(value)

    return settle
