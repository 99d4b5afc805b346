"""Print the metrics of this machine as plaintext lines, `servers.<host>.<part>...  value timestamp`, read live.

They are what a monitoring agent would send: one reading of every CPU, disk, file system, interface and process, of
memory and of the machine as a whole. Real names for trying rules on:

    python tools/live_metrics.py | carbonquota dry-run --rules etc/storage-quotas.conf -
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import psutil

Reading = tuple[str, float]
"""A metric's name below the host, and its value."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_PROCESS_PARTS: Final = (
    "num_threads",
    "num_fds",
    "cpu_times",
    "memory_info",
    "num_ctx_switches",
    "create_time",
    "nice",
)


def component(text: str) -> str:
    """The text as one component of a metric's name: without dots, blanks or anything else that means something."""
    return _UNSAFE.sub("_", text).strip("_") or "unnamed"


def fields(prefix: str, record: Any) -> Iterator[Reading]:  # noqa: ANN401 - psutil comes without types
    """The numbers of one of psutil's named tuples, each under its own name; text is left out."""
    for name, value in record._asdict().items():
        if isinstance(value, int | float):
            yield f"{prefix}.{component(name)}", float(value)


def cpu() -> Iterator[Reading]:
    """Times in seconds and percents of each core and of all, the machine's counters and its load."""
    for core, times in enumerate(psutil.cpu_times(percpu=True)):
        yield from fields(f"cpu.core{core}.seconds", times)
    for core, percents in enumerate(psutil.cpu_times_percent(interval=None, percpu=True)):
        yield from fields(f"cpu.core{core}.percent", percents)
    yield from fields("cpu.total.seconds", psutil.cpu_times())
    yield from fields("cpu.total.percent", psutil.cpu_times_percent(interval=None))
    yield from fields("cpu.counters", psutil.cpu_stats())
    for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        yield f"cpu.load.{minutes}min", load


def memory() -> Iterator[Reading]:
    """Memory and swap, in bytes."""
    yield from fields("memory.virtual", psutil.virtual_memory())
    yield from fields("memory.swap", psutil.swap_memory())


def disk() -> Iterator[Reading]:
    """What each disk has read and written, and how full each file system is."""
    for name, counters in (psutil.disk_io_counters(perdisk=True) or {}).items():
        yield from fields(f"disk.io.{component(name)}", counters)
    for mount in sorted({partition.mountpoint for partition in psutil.disk_partitions(all=True)}):
        try:
            usage = psutil.disk_usage(mount)
        except OSError:
            continue
        if usage.total:
            yield from fields(f"disk.usage.{component(mount) if mount != '/' else 'root'}", usage)


def network() -> Iterator[Reading]:
    """What each interface has sent and received, and what it is set to."""
    for name, counters in psutil.net_io_counters(pernic=True).items():
        yield from fields(f"network.{component(name)}.io", counters)
    for name, state in psutil.net_if_stats().items():
        yield from fields(f"network.{component(name)}.link", state)


def processes() -> Iterator[Reading]:
    """Each process by name and number: threads, files, CPU, memory, switches, age."""
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                yield from _process(process)
        except (psutil.Error, OSError):
            continue


def _process(process: psutil.Process) -> Iterator[Reading]:
    """One process; a part that this user may not see is left out."""
    prefix = f"process.{component(process.name())}.{process.pid}"
    for part in _PROCESS_PARTS:
        try:
            value = getattr(process, part)()
        except (psutil.AccessDenied, AttributeError):
            continue
        yield from fields(f"{prefix}.{part}", value) if isinstance(value, tuple) else [(f"{prefix}.{part}", value)]


PARTS: Final[tuple[Callable[[], Iterable[Reading]], ...]] = (cpu, memory, disk, network, processes)
"""All there is to read."""


def lines(host: str, now: int) -> Iterator[str]:
    """A plaintext line for each reading, at `now` in seconds since the epoch; a name never comes twice."""
    seen: set[str] = set()
    for part in PARTS:
        for name, value in part():
            if name not in seen:
                seen.add(name)
                yield f"servers.{component(host)}.{name} {value:.15g} {now}"


def main() -> None:
    """Print all lines; a reader that goes away ends it quietly."""
    try:
        for line in lines(platform.node().partition(".")[0], int(time.time())):
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
