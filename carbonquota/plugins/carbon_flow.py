"""How many points carbon takes before it asks senders to wait.

It asks for that with the first point that has no room any more, and drops this one and all that come until the senders
have stopped. So whoever gathers points must not have more in hand then than carbon itself would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, Final

from carbon import state
from carbon.cache import MetricCache
from carbon.conf import settings

Room = Callable[[], float]
"""Tells how many more points are taken; `inf` where that is of no concern, as the senders wait already."""

_ENDLESS: Final[Room] = lambda: inf  # noqa: E731 - a value of this type


def room(*, stores: bool) -> Room:
    """Of the cache of a daemon that `stores`, else of the queues that it relays by."""
    if not settings.USE_FLOW_CONTROL:
        return _ENDLESS
    return cache_room() if stores else relay_room


def cache_room() -> Room:
    """What is left of MAX_CACHE_SIZE."""
    most = settings.MAX_CACHE_SIZE
    if most == inf:
        return _ENDLESS
    cache = MetricCache()

    def left() -> float:
        return inf if state.cacheTooFull else float(most - cache.size)

    return left


def relay_room() -> float:
    """What is left of MAX_QUEUE_SIZE in the fullest queue of which carbon has not told yet that it is full."""
    most = settings.MAX_QUEUE_SIZE
    return min((most - queue.queueSize for queue in _queues() if not queue.queueFull.called), default=inf)


def _queues() -> Iterator[Any]:
    """The queues of all destinations; at None is what waits for one to be there, which is never full."""
    queues = state.client_manager.client_factories
    return (queue for destination, queue in queues.items() if destination is not None)
