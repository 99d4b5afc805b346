"""Two threads on two cores, each admitting buffers of its own to one engine, beside one thread alone.

Wall-clock time: how many points a second two threads get done, as a multiple of one's. One and two take turns, so that
a busy moment of the machine does not fall on one of them only.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Sequence

from bench_traffic import BATCH, batches, some_series

from carbonquota import QuotaEngine

LINES_OF_A_DAEMON = 5000
"""Lines of some 50 bytes in a batch of 256 KiB, which is what the daemon gathers."""
AT_LEAST = 0.3
"""Seconds that a thread is busy in each run, so that beginning and end do not count."""


def threads(engine: QuotaEngine, series: int, runs: int, note: Callable[[str, float], None]) -> None:
    """Note how much more two threads get done, in batches of a thousand lines and in the daemon's."""
    numbers = some_series(series)
    half = len(numbers) // 2
    for key, size in (("threads", BATCH), ("threads_daemon", LINES_OF_A_DAEMON)):
        own = [batches(numbers[:half], size), batches(numbers[half : 2 * half], size)]
        best, median = _gains(engine, own, 2 * runs)
        note(f"{key}_best", best)
        note(f"{key}_median", median)


def _gains(engine: QuotaEngine, own: Sequence[Sequence[bytes]], runs: int) -> tuple[float, float]:
    """What two threads get done as a multiple of one: by the best run of each, and by the median."""
    gc.collect()
    gc.disable()
    rounds = max(1, round(AT_LEAST / _wall(engine, own[:1], 1)))
    alone, together = [], []
    for _ in range(runs):
        alone.append(_wall(engine, own[:1], rounds))
        together.append(_wall(engine, own, rounds))
    gc.enable()
    return 2 * min(alone) / min(together), 2 * statistics.median(alone) / statistics.median(together)


def _wall(engine: QuotaEngine, own: Sequence[Sequence[bytes]], rounds: int) -> float:
    """Seconds until each of the threads, one for each share, is through with its own buffers."""
    barrier = threading.Barrier(len(own) + 1)

    def admit(buffers: Sequence[bytes]) -> None:
        barrier.wait()
        for _ in range(rounds):
            for buffer in buffers:
                engine.admit(buffer)

    workers = [threading.Thread(target=admit, args=(buffers,)) for buffers in own]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return time.perf_counter() - start
