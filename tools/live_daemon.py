"""Run the daemon on this machine's own metrics, and show live what its quotas do to them: `make run`.

The daemon is the real one, started as a process of its own. Every few seconds it is sent the metrics of this machine,
in plaintext over TCP, and what it says over HTTP is shown as a table. Ctrl-C ends both.

Signals only set a mark, which is looked at between two steps, so that none of them can leave the daemon behind. The
daemon is in a process group of its own: Ctrl-C on a terminal goes to all of a group, and it takes a second signal as
the wish to end without writing what it holds.
"""

from __future__ import annotations

import argparse
import platform
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, Self

from live_metrics import lines
from live_table import LiveDaemon, NoAnswerError, Picture, limits_table, shown_path
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from carbonquota.daemon.configuration import load_settings
from carbonquota.daemon.settings import Settings
from carbonquota.errors import QuotaError

_GLANCE: Final = 0.1
"""Seconds between two looks at whether to end."""
_SETTLING: Final = 2.0
"""Seconds that the daemon has to take in what it was sent, before the table is read anyway."""
_ENDING: Final = 60.0
"""Seconds that the daemon has to end; it takes less itself."""
_SENDING: Final = 10.0
"""Seconds that the daemon may take no points, as its cache is full."""
_PLAIN_EVERY: Final = 12
"""Rounds between two tables where there is no terminal."""
_PLAIN_ROWS: Final = 20
_PLAIN_WIDTH: Final = 1000
_LOG_LINES: Final = 10
_LISTENING: Final = re.compile(r"listening for (?P<what>.+) on (?P<host>\S*):(?P<port>\d+)$", re.MULTILINE)
_LOOPBACK: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what is listened to
"""Where to reach what listens at all interfaces."""


@dataclass(slots=True)
class Interrupts:
    """How often this program was asked to end."""

    count: int = 0

    def listen(self) -> None:
        """Count signals from now on, instead of being ended by them."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._note())

    def _note(self) -> None:
        self.count += 1

    def wait_for(self, condition: Callable[[], bool], until: float = float("inf")) -> bool:
        """Wait for a condition, for a signal, or until a moment of `time.monotonic`; whether the condition holds."""
        while not (holds := condition()) and not self.count and time.monotonic() < until:
            time.sleep(_GLANCE)
        return holds


class DaemonEndedError(Exception):
    """The daemon has ended, with this exit code, or by the signal of this number below 0."""

    def __init__(self, code: int) -> None:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended by itself, with exit code {code}"
        super().__init__(f"the daemon {how}")
        self.code = code


class DaemonProcess:
    """The daemon as a child process, with its log in a file."""

    def __init__(self, config: Path, log: Path) -> None:
        """Start it; OSError where the log cannot be written."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        command = [sys.executable, "-m", "carbonquota.cli", "run", "--config", str(config)]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, process_group=0
            )

    def check(self) -> None:
        """DaemonEndedError if it runs no more."""
        code = self._process.poll()
        if code is not None:
            raise DaemonEndedError(code)

    def address(self, what: str) -> tuple[str, int] | None:
        """Where to reach what its log says it listens for; None as long as it does not."""
        for found in _LISTENING.finditer(self._log.read_text(errors="replace")):
            if found["what"] == what:
                return _LOOPBACK.get(found["host"], found["host"]), int(found["port"])
        return None

    def log_end(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])

    def stop(self, interrupts: Interrupts) -> None:
        """End it in order; at another signal, or when it takes too long, at once."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        interrupts.count = 0
        until = time.monotonic() + _ENDING
        if not interrupts.wait_for(lambda: self._process.poll() is not None, until):
            self._process.kill()
        self._process.wait()


@dataclass(slots=True)
class Feed:
    """Sends this machine's metrics to an address; `sent` counts the points."""

    address: tuple[str, int]
    host: str = field(default_factory=lambda: platform.node().partition(".")[0])
    sent: int = 0

    def send(self) -> str:
        """Send what the machine reads now; says what is wrong if that cannot be done."""
        now = list(lines(self.host, int(time.time())))
        host, port = self.address
        try:
            with socket.create_connection((host.strip("[]"), port), timeout=_SENDING) as connection:
                connection.sendall("".join(f"{line}\n" for line in now).encode())
        except OSError as error:
            return f"the daemon takes no points: {error}"
        self.sent += len(now)
        return ""


class Screen:
    """Shows pictures of the daemon: in place on a terminal, else one below the other. A context manager."""

    def __init__(self, intro: str) -> None:
        """Show `intro` above everything."""
        self.intro = intro
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.live = Live(console=self.console, auto_refresh=False, vertical_overflow="ellipsis")

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self.console.is_terminal:
            self.live.start()
        else:
            self._print(Text(self.intro))
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last picture standing."""
        if self.console.is_terminal:
            self.live.stop()

    def show(self, picture: Picture, trouble: Sequence[str], *, due: bool) -> None:
        """Show a picture, where there is no terminal only if it is `due`."""
        notes = [Text(text, style="yellow") for text in trouble]
        totals = Text(f"{time.strftime('%H:%M:%S')}  data points: {picture.summary()}")
        if self.console.is_terminal:
            # More than what the window holds is cut off at the bottom, so what matters most comes first.
            table = limits_table(picture.rows, self.console.width)
            self.live.update(Group(Text(self.intro), totals, *notes, Text(), table), refresh=True)
        elif due:
            rows, more = picture.rows[:_PLAIN_ROWS], len(picture.rows) - _PLAIN_ROWS
            rest = [Text(f"... and {more:,} limits more, all less pressing")] if more > 0 else []
            self._print(Text(), totals, *notes, limits_table(rows), *rest)

    def _print(self, *parts: RenderableType) -> None:
        """Print plain text at full width, without blanks at the ends of lines."""
        self.console.width = _PLAIN_WIDTH
        with self.console.capture() as captured:
            self.console.print(*parts, sep="\n")
        print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)


@dataclass(frozen=True, slots=True)
class Show:
    """The daemon, fed and shown until the end, as the options of the command line say; `rules` is its rules file."""

    daemon: DaemonProcess
    interrupts: Interrupts
    options: argparse.Namespace
    rules: str

    def run(self) -> None:
        """Feed and show. DaemonEndedError."""
        if not self.interrupts.wait_for(self._is_ready):
            return
        plaintext, live = self._addresses()
        with Screen(self._intro(plaintext, live.url)) as screen:
            feed = Feed(plaintext)
            for turn in count(1):
                begun = time.monotonic()
                self._round(turn, feed, live, screen)
                if turn == self.options.rounds or self.interrupts.wait_for(self._is_over, begun + self.options.every):
                    return
                if self.interrupts.count:
                    return

    def _is_over(self) -> bool:
        self.daemon.check()
        return False

    def _is_ready(self) -> bool:
        """Whether the daemon takes points."""
        self.daemon.check()
        address = self.daemon.address("HTTP")
        return address is not None and LiveDaemon(_url(address)).is_ready()

    def _addresses(self) -> tuple[tuple[str, int], LiveDaemon]:
        """Where the daemon takes plaintext, and the daemon itself."""
        plaintext, http = self.daemon.address("plaintext over TCP"), self.daemon.address("HTTP")
        if plaintext is None or http is None:
            raise QuotaError(f"the daemon's log, {self.options.log}, does not say where it listens")
        return plaintext, LiveDaemon(_url(http))

    def _intro(self, plaintext: tuple[str, int], url: str) -> str:
        options, (host, port) = self.options, plaintext
        return (
            f"carbonquota run --config {options.config}; this machine sends it metrics every {options.every:g} s.\n"
            f"Rules: {shown_path(self.rules) if self.rules else 'none'}  Log: {options.log}\n"
            f"Page: {url}/  Ctrl-C ends both. Send your own:\n"
            f"""  bash -c 'echo "team.a.test 1 $(date +%s)" > /dev/tcp/{host.strip("[]")}/{port}'"""
        )

    def _round(self, turn: int, feed: Feed, live: LiveDaemon, screen: Screen) -> None:
        """Feed once, and show once."""
        trouble = [feed.send()]
        try:
            self.interrupts.wait_for(lambda: live.received() >= feed.sent, time.monotonic() + _SETTLING)
            picture = live.picture()
        except NoAnswerError as error:
            self.daemon.check()
            picture = Picture((), {}, (str(error),))
        trouble += picture.reasons
        due = turn == self.options.rounds or turn % _PLAIN_EVERY == 1
        screen.show(picture, [text for text in trouble if text], due=due)


def _url(address: tuple[str, int]) -> str:
    host, port = address
    return f"http://{host}:{port}"


def read_settings(config: Path) -> Settings:
    """The settings of the daemon; QuotaError where they are bad, or it could not be fed or asked."""
    settings, _ = load_settings(config)
    for section, enabled in (("tcp", settings.inputs["tcp"].enabled), ("carbonserver", settings.carbonserver.enabled)):
        if not enabled:
            raise QuotaError(f"{config}: [{section}] is off, and this needs it: set its `enabled = true`")
    return settings


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("etc/carbonquota.conf"), help="%(default)s unless given")
    parser.add_argument("--log", type=Path, default=Path("var/carbonquota.log"), help="%(default)s unless given")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two rounds (%(default)g)")
    parser.add_argument("--rounds", type=int, default=0, help="end after so many rounds")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, interrupts: Interrupts) -> int:
    """Run it all; the exit code. QuotaError, OSError."""
    rules = read_settings(options.config).whisper.quotas_file
    daemon = DaemonProcess(options.config, options.log)
    try:
        Show(daemon, interrupts, options, rules).run()
    except DaemonEndedError as end:
        print(f"{daemon.log_end()}\nlive_daemon: {end}; its log is {options.log}", file=sys.stderr)
        return end.code if end.code > 0 else 1
    finally:
        daemon.stop(interrupts)
    return 0


def main() -> int:
    """Run the tool; the exit code."""
    interrupts = Interrupts()
    interrupts.listen()
    try:
        return run(parse_arguments(), interrupts)
    except (QuotaError, OSError) as error:
        print(f"live_daemon: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
