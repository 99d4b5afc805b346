"""Coroutines begun at once: most decisions wait for nothing, and need no task."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

_Value = TypeVar("_Value")


def begin(coroutine: Coroutine[Any, Any, _Value]) -> tuple[_Value] | Coroutine[Any, Any, _Value]:
    """Run it until it ends or waits: what it returned, in a tuple; or the rest of it, to be awaited or made a task."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration as end:
        return (end.value,)
    return _rest(coroutine, waits_for)


async def _rest(coroutine: Coroutine[Any, Any, _Value], waits_for: object) -> _Value:
    """Go on where it waits."""
    return await _go_on(coroutine, waits_for)


@types.coroutine
def _go_on(coroutine: Coroutine[Any, Any, _Value], waits_for: object) -> Generator[Any, Any, _Value]:
    try:
        while True:
            try:
                sent = yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(sent)
    except StopIteration as end:
        value: _Value = end.value
        return value
