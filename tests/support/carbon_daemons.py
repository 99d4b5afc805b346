"""Graphite's own daemons as processes, stock or with quotas, each below a GRAPHITE_ROOT of a test's own.

A `Graphite` is the root: its configuration, Whisper files and logs. A `CarbonDaemon` is one program and instance in it;
it may be started, ended and started again. All ports are free ones of the loopback.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import struct
import subprocess
import sysconfig
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import whisper
from loopback_ports import free_ports

from tests.support import preloaded
from tests.support.daemon import LONG, PATIENCE, wait_until
from tests.support.preloaded import Process

HOST: Final = socket.gethostname().replace(".", "_")
"""This machine, as carbon writes it in the names of its own metrics."""
SECTIONS: Final = ("cache", "relay", "aggregator", "aggregator-cache")
COMMON: Final = {
    "CACHE_WRITE_STRATEGY": "max",  # which writes what came last as the last, where all have one point
    "MAX_UPDATES_PER_SECOND": "inf",
    "MAX_CREATES_PER_MINUTE": "inf",
    "CARBON_METRIC_INTERVAL": "0",
    "ENABLE_TAGS": "False",
    "LOG_UPDATES": "False",
    "LOG_CREATES": "False",
    "LOG_AGGREGATOR_MISSES": "False",
    "LOG_CACHE_QUEUE_SORTS": "False",
    "TAG_HASH_FILENAMES": "False",
    "ENABLE_UDP_LISTENER": "True",
    "RELAY_METHOD": "consistent-hashing",
    "TIME_TO_DEFER_SENDING": "0.01",
}
Protocol = Literal["plaintext", "pickle", "udp"]

_PACE: Final = Path(__file__).with_name("carbon_pace")


def environment(root: Path) -> dict[str, str]:
    """What a carbon below this root is started with: nothing of another one, and a writer that does not sleep long."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GRAPHITE_")}
    path = os.pathsep.join(filter(None, (str(_PACE), os.environ.get("PYTHONPATH"))))
    # Carbon's own messages are of a protobuf that was older than the one which other parts need.
    protobuf = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    return inherited | protobuf | {"GRAPHITE_ROOT": str(root), "PYTHONPATH": path}


@dataclass(frozen=True, slots=True)
class Ports:
    """Where one daemon listens; a relay does not answer queries."""

    line: int
    pickle: int
    query: int

    def settings(self) -> dict[str, object]:
        """As carbon.conf has them; UDP is beside plaintext."""
        ports = {"LINE": self.line, "UDP": self.line, "PICKLE": self.pickle}
        both: dict[str, object] = {f"{name}_RECEIVER_PORT": port for name, port in ports.items()}
        both |= {f"{name}_RECEIVER_INTERFACE": "127.0.0.1" for name in ports}
        return both | {"CACHE_QUERY_PORT": self.query, "CACHE_QUERY_INTERFACE": "127.0.0.1"}


class Graphite:
    """A GRAPHITE_ROOT: the configuration of all daemons in it, their Whisper files and logs."""

    def __init__(
        self, root: Path, *, quotas: str | None = None, schemas: str = "1s:1h", interval: int = LONG, **common: object
    ) -> None:
        """Write its configuration; with `quotas`, they apply to our daemons; `common` goes into every section."""
        self.root = root
        self.conf = root / "conf"
        self.data = root / "storage" / "whisper"
        self.conf.mkdir(parents=True)
        self.data.mkdir(parents=True)
        self.write("storage-schemas.conf", f"[all]\npattern = .*\nretentions = {schemas}\n")
        settings: dict[str, object] = {**COMMON, **common}
        if quotas is not None:
            self.write("storage-quotas.conf", quotas)
            settings = {"QUOTAS_FILE": "storage-quotas.conf", "QUOTA_USAGE_REPORT_FREQUENCY": interval} | settings
        self._sections: dict[str, dict[str, object]] = {name: dict(settings) for name in SECTIONS}
        self._write_configuration()

    def write(self, name: str, text: str) -> Path:
        """Write a file of its configuration, whole at once."""
        path = self.conf / name
        draft = path.with_suffix(".new")
        draft.write_text(text)
        return draft.replace(path)

    def configure(self, section: str, **settings: object) -> None:
        """Add settings to a section of carbon.conf; daemons see them when they start."""
        self._sections.setdefault(section, {}).update(settings)
        self._write_configuration()

    def _write_configuration(self) -> None:
        self.write(
            "carbon.conf",
            "\n".join(
                f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
                for name, settings in self._sections.items()
            ),
        )

    def daemon(self, program: str = "cache", instance: str = "a", *, ours: bool = True, **own: object) -> CarbonDaemon:
        """One daemon on free ports; `own` are settings of this instance alone."""
        ports = Ports(*free_ports(3))
        self.configure(f"{program}:{instance}", **ports.settings(), **own)
        return CarbonDaemon(self, program, instance, ports, ours=ours)

    def every_metric(self) -> set[str]:
        """The metrics that have a Whisper file."""
        paths = (path.relative_to(self.data).with_suffix("") for path in self.data.rglob("*.wsp"))
        return {".".join(path.parts) for path in paths}

    def stored(self) -> set[str]:
        """The same, without carbon's own and the marks that tests wait for."""
        return {name for name in self.every_metric() if not name.startswith(("carbon.", "mark."))}

    def own(self) -> set[str]:
        """The metrics that carbon and the quotas make about themselves."""
        return {name for name in self.every_metric() if name.startswith("carbon.")}

    def points(self, metric: str, seconds: int = 3_000) -> dict[int, float]:
        """What is stored of a metric within the last seconds, by time; nothing if there is no file."""
        path = self.data.joinpath(*metric.split(".")).with_suffix(".wsp")
        with suppress(FileNotFoundError, whisper.CorruptWhisperFile):
            (start, _, step), values = whisper.fetch(str(path), int(time.time()) - seconds)
            return {start + i * step: value for i, value in enumerate(values) if value is not None}
        return {}

    def create(self, metric: str, retention: tuple[int, int] = (1, 3600)) -> Path:
        """Make a Whisper file, as if it had been there for long."""
        path = self.data.joinpath(*metric.split(".")).with_suffix(".wsp")
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), [retention])
        return path


class CarbonDaemon:
    """One program (`cache`, `relay`, `aggregator`, `aggregator-cache`) and instance: carbon's own, or ours."""

    def __init__(self, graphite: Graphite, program: str, instance: str, ports: Ports, *, ours: bool) -> None:
        """Nothing runs yet."""
        self.graphite = graphite
        self.name = f"carbon-{program}"
        self.instance = instance
        self.ports = ports
        self.environment: dict[str, str] = {}
        self._script = Path(sysconfig.get_path("scripts")) / (f"carbonquota-{self.name}" if ours else f"{self.name}.py")
        self._process: Process | None = None
        self._marks = 0

    @property
    def agent(self) -> str:
        """What the names of its own metrics begin with."""
        kind = {"carbon-relay": "relays", "carbon-aggregator": "aggregator"}.get(self.name, "agents")
        return f"carbon.{kind}.{HOST}-{self.instance}"

    @property
    def destination(self) -> str:
        """As DESTINATIONS has it."""
        return f"127.0.0.1:{self.ports.pickle}:{self.instance}"

    @property
    def log(self) -> str:
        """All that it said on its terminal since it was made."""
        path = self._log_path
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def _log_path(self) -> Path:
        return self.graphite.root / f"{self.name}-{self.instance}.log"

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def command(self, *arguments: str) -> list[str]:
        """Its command line, for this root and instance."""
        configuration = str(self.graphite.conf / "carbon.conf")
        return [str(self._script), "--config", configuration, "--instance", self.instance, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, as one does with `status` and `stop`, or where it refuses to start."""
        return subprocess.run(
            self.command(*arguments),
            env=self._environment(),
            cwd=self.graphite.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        return environment(self.graphite.root) | self.environment

    def start(self) -> CarbonDaemon:
        """Run it in the foreground, and wait until it listens."""
        self.launch()
        self.wait_until_it_listens()
        return self

    def launch(self) -> None:
        """Run it in the foreground."""
        with self._log_path.open("ab") as log:
            script, *arguments = self.command("--nodaemon", "start")
            self._process = preloaded.start(
                arguments,
                script=Path(script),
                cwd=self.graphite.root,
                output=log,
                environment=self._environment(),
            )

    def wait_until_it_listens(self) -> None:
        """Until senders can connect."""
        wait_until(self.listens, lambda: f"does not listen: {self.log}")

    def listens(self) -> bool:
        """Whether it takes connections; fails if it has ended."""
        if self._process is not None:
            assert self._process.poll() is None, f"ended: {self.log}"
        try:
            for port in (self.ports.line, self.ports.pickle):
                self.connect(port).close()
        except OSError:
            return False
        return True

    def stop(self) -> int:
        """End it as an operator does; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(PATIENCE)
        self._process = None
        return code

    def kill(self) -> None:
        """End it without a word, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(PATIENCE)

    def connect(self, port: int) -> socket.socket:
        """A connection to one of its ports."""
        return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def send(self, lines: Iterable[str], by: Protocol = "plaintext") -> None:
        """Send lines over a connection of their own; as a pickle, in one message."""
        if by == "udp":
            self._send_datagrams(list(lines))
            return
        with self.connect(self.ports.pickle if by == "pickle" else self.ports.line) as connection:
            connection.sendall(_pickled(lines) if by == "pickle" else "".join(f"{line}\n" for line in lines).encode())

    def _send_datagrams(self, lines: Sequence[str]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            for at in range(0, len(lines), 10):
                connection.sendto("\n".join(lines[at : at + 10]).encode(), ("127.0.0.1", self.ports.line))

    def deliver(
        self, lines: Iterable[str], *stores: Graphite, by: Protocol = "plaintext", width: int | None = None
    ) -> None:
        """Send lines, and wait until all that was let in is on disk, here or where a relay sends it.

        A mark goes behind the lines. Caches write a new metric with one point after all that they had before. A relay
        sends so many marks that each of its destinations gets one.
        """
        self._marks += 1
        kept = width or (1 if self.name.endswith("cache") else 30)
        marks = {f"mark.{self.name}-{self.instance}.{self._marks}-{number}" for number in range(kept)}
        self.send([*lines, *one_each(marks)], by)
        wait_until(
            lambda: marks <= set().union(*(store.every_metric() for store in stores or (self.graphite,))),
            lambda: f"not all on disk: {self.log}",
        )

    def cached(self, metric: str) -> dict[float, float]:
        """What waits of a metric for the disk, by time; as graphite-web asks for it."""
        with self.connect(self.ports.query) as connection, connection.makefile("rb") as answers:
            connection.sendall(_framed({"type": "cache-query", "metric": metric}))
            (size,) = struct.unpack("!L", answers.read(4))
            answer: dict[str, Any] = pickle.loads(answers.read(size))  # noqa: S301 - from our own process
        return dict(answer["datapoints"])


def _pickled(lines: Iterable[str]) -> bytes:
    fields = (line.split() for line in lines)
    return _framed([(name, (float(when), float(value))) for name, value, when in fields])


def _framed(message: object) -> bytes:
    body = pickle.dumps(message, protocol=2)
    return struct.pack("!L", len(body)) + body


@contextmanager
def running(*daemons: CarbonDaemon) -> Iterator[Sequence[CarbonDaemon]]:
    """Daemons that run, must not have met a bug of their own, and have ended in the end."""
    try:
        # Side by side, but caches first: a relay that finds no destination waits before it tries again.
        for kind in (True, False):
            together = [daemon for daemon in daemons if daemon.name.endswith("cache") is kind]
            for daemon in together:
                daemon.launch()
            for daemon in together:
                daemon.wait_until_it_listens()
        yield daemons
        for daemon in daemons:
            assert "Traceback" not in daemon.log, daemon.log
    finally:
        for daemon in daemons:
            daemon.kill()


def one_each(metrics: Iterable[str]) -> list[str]:
    """A line for each metric: 1, now."""
    now = int(time.time())
    return [f"{metric} 1 {now}" for metric in metrics]


def many_of(metric: str, count: int) -> list[str]:
    """So many lines of one metric: 1, 2, 3 ..., one for each of the last seconds."""
    first = int(time.time()) - count - 5
    return [f"{metric} {number + 1} {first + number}" for number in range(count)]
