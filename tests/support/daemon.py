"""The real daemon as a process: started on free ports with its files in a folder, and ended in every case."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import whisper

from tests.support import preloaded
from tests.support.preloaded import Process

PATIENCE = 60.0
"""Seconds that anything may take before a test gives up."""


def wait_until(condition: Callable[[], object], complaint: str | Callable[[], str], patience: float = PATIENCE) -> None:
    """Wait for a condition; fails with the complaint when it does not come true in time."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, complaint if isinstance(complaint, str) else complaint()
        time.sleep(0.02)


LONG = 86_400
"""Seconds of an interval whose end no test comes to see, unless it runs at midnight UTC."""

CONFIGURATION = """
[common]
graph-prefix = "carbon.agents.test"
[whisper]
enabled = {whisper}
data-dir = "whisper"
quotas-file = "quotas.conf"
schemas-file = "schemas.conf"
[tcp]
listen = "127.0.0.1:0"
[udp]
listen = "127.0.0.1:0"
[pickle]
listen = "127.0.0.1:0"
[carbonserver]
listen = "127.0.0.1:0"
quota-usage-report-frequency = "{interval}s"
{carbonserver}
[relay]
enabled = {relay}
destination = "127.0.0.1:{destination}"
{relay_keys}
[state]
directory = "state"
{state}
{more}
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of all points since the start, the daemon's `own` among them, as `/metrics` has it."""

    received: int
    accepted: int
    dropped: int
    malformed: int
    own: int
    gone: int
    """Stored or forwarded."""
    lost: int
    waiting: int
    """In memory or in the spool."""

    @property
    def unaccounted(self) -> int:
        """Points that were accepted, and are neither anywhere nor known to be lost."""
        return self.accepted + self.own - self.gone - self.lost - self.waiting


class Daemon:
    """One daemon in a folder; it may be started, killed and started again there."""

    def __init__(  # noqa: PLR0913 - each is one thing that a test turns
        self,
        folder: Path,
        *,
        rules: str = "",
        schemas: str = "[all]\npattern = .*\nretentions = 60s:1h\n",
        destination: int | None = None,
        relay: str = 'spool-dir = "spool"',
        interval: int = LONG,
        carbonserver: str = "",
        state: str = "",
        more: str = "",
        arguments: Sequence[str] = (),
        open_files: int | None = None,
    ) -> None:
        """Write its files; with a destination's port it relays, else it stores in Whisper files.

        `arguments` go to the command, and `open_files` bounds its file descriptors.
        """
        self._arguments = arguments
        self._open_files = open_files
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.rules = folder / "quotas.conf"
        self.rules.write_text(rules)
        (folder / "schemas.conf").write_text(schemas)
        self.configuration.write_text(
            CONFIGURATION.format(
                whisper=str(destination is None).lower(),
                relay=str(destination is not None).lower(),
                destination=destination or 1,
                relay_keys=relay,
                interval=interval,
                carbonserver=carbonserver,
                state=state,
                more=more,
            )
        )
        self.log_path = folder / "log"
        self.process: Process | None = None

    @property
    def configuration(self) -> Path:
        """Its carbonquota.conf."""
        return self.folder / "carbonquota.conf"

    @property
    def log(self) -> str:
        """All it has logged since it was last started."""
        return self.log_path.read_text(errors="replace")

    def start(self, *, ready: bool = True) -> Daemon:
        """Start it, and wait until it is ready."""
        with self.log_path.open("wb") as log:
            self.process = self._begin(log, os.environ | {"PYTHONWARNINGS": "error"})
        return self.await_ready() if ready else self

    def await_ready(self) -> Daemon:
        """Wait until it is ready, where it was started without waiting."""
        wait_until(self._is_ready, lambda: f"not ready: {self.log}")
        return self

    def _begin(self, log: IO[bytes], environment: Mapping[str, str]) -> Process:
        command = ["run", "--config", str(self.configuration), *self._arguments]
        if self._open_files is None:
            return preloaded.start(command, output=log, environment=environment)
        bounded = ["/bin/sh", "-c", f'ulimit -n {self._open_files} && exec "$@"', "sh"]
        full = [*bounded, sys.executable, "-m", "carbonquota.cli", *command]
        return subprocess.Popen(full, stdout=log, stderr=log, env=environment)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"ended: {self.log}"
        return "ready" in self.log and self.get("/ready")[0] == 200

    def address(self, what: str) -> tuple[str, int]:
        """Where it listens for `plaintext over TCP`, `plaintext over UDP`, `pickle over TCP` or `HTTP`."""
        pattern = rf"listening for {re.escape(what)} on 127\.0\.0\.1:(\d+)"
        wait_until(lambda: re.search(pattern, self.log), lambda: f"no {what}: {self.log}")
        match = re.search(pattern, self.log)
        assert match
        return "127.0.0.1", int(match[1])

    def connect(self, what: str = "plaintext over TCP", kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A connection to it."""
        connection = socket.socket(type=kind)
        connection.settimeout(PATIENCE)
        connection.connect(self.address(what))
        connection.settimeout(PATIENCE)
        return connection

    def send(self, lines: str | bytes, buffer: int | None = None) -> None:
        """Send plaintext over a connection of its own; with a small buffer, it waits as soon as the daemon does."""
        with socket.socket() as connection:
            connection.settimeout(PATIENCE)
            if buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            connection.connect(self.address("plaintext over TCP"))
            connection.sendall(lines.encode() if isinstance(lines, str) else lines)

    def get(self, path: str, **request: Any) -> tuple[int, str]:  # noqa: ANN401 - as urllib takes it
        """Status and body of an HTTP request; status 0 where it cannot be reached."""
        host, port = self.address("HTTP")
        try:
            full = urllib.request.Request(f"http://{host}:{port}{path}", **request)  # noqa: S310 - loopback
            with urllib.request.urlopen(full, timeout=PATIENCE) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def json(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """The document of a request that must succeed."""
        status, body = self.get(path)
        assert status == 200, body
        return json.loads(body)

    def reload(self) -> tuple[int, str]:
        """Have the rules read anew over HTTP; status and body."""
        return self.get("/api/reload", method="POST", data=b"{}", headers={"Content-Type": "application/json"})

    def health(self) -> dict[str, float]:
        """The values of `/metrics` by name and labels, as `name` or `name{label="value"}`."""
        status, body = self.get("/metrics")
        assert status == 200, body
        rows = (line.rsplit(" ", 1) for line in body.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in rows}

    def count(self, name: str) -> float:
        """One value of `/metrics`, summed over its labels; 0 where it is not there."""
        full = f"carbonquota_{name}"
        return sum(value for key, value in self.health().items() if key == full or key.startswith(full + "{"))

    def counts(self) -> Counts:
        """What became of all points so far; what came in must be accepted, dropped or malformed at every look."""
        health = self.health()

        def total(name: str) -> int:
            full = f"carbonquota_{name}"
            return int(sum(value for key, value in health.items() if key.partition("{")[0] == full))

        counts = Counts(
            received=total("received_total"),
            accepted=total("accepted_total"),
            dropped=total("dropped_total"),
            malformed=total("malformed_total"),
            own=total("own_points_total"),
            gone=total("stored_total") + total("forwarded_total"),
            lost=total("lost_total"),
            waiting=total("queue_points") + total("spool_points"),
        )
        assert counts.received == counts.accepted + counts.dropped + counts.malformed, counts
        return counts

    def settled(self, condition: Callable[[Counts], object], found: int = 0) -> Counts:
        """The counts as soon as they meet a condition and every point is accounted for; `found` were in the spool.

        A batch may be counted as accepted a moment before the sink has it, so one look alone says little.
        """
        counts = self.counts()

        def is_met() -> bool:
            nonlocal counts
            counts = self.counts()
            return bool(condition(counts)) and counts.unaccounted + found == 0

        wait_until(is_met, lambda: f"{counts}, {found} found\n{self.log}")
        return counts

    def stored(self) -> set[str]:
        """The metrics that have a file, the daemon's own left out."""
        root = self.folder / "whisper"
        names = (str(path.relative_to(root).with_suffix("")).replace("/", ".") for path in root.rglob("*.wsp"))
        return {name for name in names if not name.startswith("carbon.")}

    def value(self, metric: str, timestamp: int) -> float | None:
        """What a metric's file holds at a time; None where there is nothing."""
        path = self.folder / "whisper" / (metric.replace(".", "/") + ".wsp")
        if not path.exists():
            return None
        _, (found, *_) = whisper.fetch(str(path), timestamp - 1, timestamp + 1)
        return None if found is None else float(found)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it as an operator does; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Daemon]:  # noqa: ANN401 - as Daemon takes it
    """A daemon that is ready, is killed at the end if it still runs, and must not have met a bug in itself."""
    daemon = Daemon(folder, **settings)
    try:
        yield daemon.start()
        assert "Traceback" not in daemon.log, daemon.log
    finally:
        daemon.kill()
