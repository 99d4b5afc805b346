"""A real carbon-cache in a process of its own, with its configuration and Whisper files in a directory of a test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import whisper
from loopback_ports import free_ports

from carbonquota.service.values.address import Address

_CONFIGURATION: Final = """\
[cache]
STORAGE_DIR = {root}/storage
LOCAL_DATA_DIR = {root}/whisper
CONF_DIR = {root}/conf
LOG_DIR = {root}/log
PID_DIR = {root}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
CARBON_METRIC_INTERVAL = 0
ENABLE_TAGS = False
LOG_UPDATES = False
LOG_CREATES = False
"""


class CarbonCache:
    """A carbon-cache below `root`; every metric is kept with the one `retentions`."""

    def __init__(self, root: Path, retentions: str = "1s:1h") -> None:
        """Write its configuration; nothing runs yet."""
        self.data = root / "whisper"
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        line, pickle, query = free_ports(3)
        self.address = Address("127.0.0.1", line)
        conf = root / "conf"
        conf.mkdir(parents=True)
        (conf / "carbon.conf").write_text(_CONFIGURATION.format(root=root, line=line, pickle=pickle, query=query))
        (conf / "storage-schemas.conf").write_text(f"[all]\npattern = .*\nretentions = {retentions}\n")

    def start(self, within: float = 15.0) -> None:
        """Run it, and wait until it listens."""
        script = Path(sysconfig.get_path("scripts")) / "carbon-cache.py"
        configuration = self._root / "conf" / "carbon.conf"
        with (self._root / "carbon.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(script), "--config", str(configuration), "--nodaemon", "start"],
                env=os.environ
                | {"GRAPHITE_ROOT": str(self._root), "GRAPHITE_CONF_DIR": str(configuration.parent)}
                # Carbon's own messages are of a protobuf that was older than the one which other parts need.
                | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
                cwd=self._root,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + within
        while not self._listens():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def stop(self, signum: signal.Signals = signal.SIGTERM, within: float = 15.0) -> None:
        """End it, if it runs, and wait for its end."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signum)
        try:
            process.wait(within)
        finally:
            process.kill()
            process.wait()

    def points(self, metric: str, since: int, until: int) -> dict[int, float]:
        """What is stored of the metric from `since` on and before `until`, by time; nothing if there is no file."""
        path = self.data.joinpath(*metric.split(".")).with_suffix(".wsp")
        if not path.exists():
            return {}
        (start, _, step), values = whisper.fetch(str(path), since - 1, until - 1)
        return {start + i * step: value for i, value in enumerate(values) if value is not None}

    def log(self) -> str:
        """What it said."""
        return (self._root / "carbon.log").read_text(errors="replace")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address.host, self.address.port), 1):
            return True
        return False


@contextlib.contextmanager
def carbon_cache(root: Path) -> Iterator[CarbonCache]:
    """One that runs, and has ended in the end."""
    cache = CarbonCache(root)
    cache.start()
    try:
        yield cache
    finally:
        cache.stop()
