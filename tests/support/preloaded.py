"""Commands of carbonquota as processes of their own that need not import everything again.

A daemon's imports take most of a second of processor time, and hundreds of tests start one. So a server imports what a
command needs, once, and forks a process for each start. Such a process is a real one: it has its own memory, files and
signals, it can be killed, and it ends as Python ends. What differs from a start by name is left to the tests of the
console script, of the installation and of the documentation.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("carbonquota.cli.run", "carbonquota.daemon.daemon", "pydantic.v1"),
    "serve": ("carbonquota.cli.serve", "carbonquota.hub.settings", "carbonquota.hub.server", "pydantic.v1"),
    "limit": ("carbonquota.cli.limit", "carbonquota.limiter.process.process", "pydantic.v1"),
}
"""What each command imports as it starts; pydantic.v1 is what FastAPI asks each model for."""
CARBON_MODULES: Final = (
    "carbonquota.service.runtime",
    "carbonquota.service.lifecycle",
    "twisted.application.internet",
    "twisted.scripts.twistd",
    "twisted.spread.pb",
    "whisper",
)
"""What a carbon with quotas imports beside itself. A reactor is not among it, since carbon's options choose one."""
_ROOT: Final = Path(__file__).parents[2]
_MOST: Final = 1 << 20
"""Bytes of a request."""


class Process(Protocol):
    """What a test does with a process; `subprocess.Popen` can do it too."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code once it has ended; raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Nothing where it has ended."""

    def kill(self) -> None:
        """SIGKILL."""


class ForkedProcess:
    """A process that the server forked, as `subprocess.Popen` would show it."""

    def __init__(self, arguments: Sequence[str], connection: socket.socket) -> None:
        self._arguments = arguments
        self._connection = connection
        message, handles, _, _ = socket.recv_fds(connection, 32, 1)
        assert handles, "the server that forks processes has ended"
        self.pid = int(message)
        self._handle = handles[0]
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code once it has ended; raises subprocess.TimeoutExpired."""
        if self._code is None:
            self._connection.settimeout(timeout)
            try:
                self._code = int(self._connection.recv(32))
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0) from None
            self._connection.close()
            os.close(self._handle)
        return self._code

    def send_signal(self, sig: int) -> None:
        """Nothing where it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, sig)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str],
    *,
    script: Path | None = None,
    cwd: Path | None = None,
    output: IO[bytes],
    environment: Mapping[str, str] | None = None,
) -> ForkedProcess:
    """A process that runs `carbonquota`, or a script of carbon's, with the arguments.

    Both of its outputs go to `output`.
    """
    environment = os.environ if environment is None else environment
    server = _server(MODULES[arguments[0]] if script is None else CARBON_MODULES, environment)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = {
        "command": [str(script or "carbonquota"), *arguments],
        "cwd": str(cwd or Path.cwd()),
        "environment": dict(environment),
    }
    with theirs:
        socket.send_fds(server, [json.dumps(request).encode()], [output.fileno(), theirs.fileno()])
    return ForkedProcess(arguments, ours)


@dataclass(frozen=True, slots=True)
class _Server:
    """A process that forks others; it ends as the connection is closed."""

    process: subprocess.Popen[bytes]
    connection: socket.socket

    def close(self) -> None:
        self.connection.close()
        self.process.wait()


_servers: dict[object, _Server] = {}
"""By what was imported, and what decided how Python and the kernel began."""


@atexit.register
def _close_servers() -> None:
    while _servers:
        _servers.popitem()[1].close()


def _server(modules: tuple[str, ...], environment: Mapping[str, str]) -> socket.socket:
    """The server that has these modules, made where there is none yet."""
    decisive = {
        name: value for name, value in environment.items() if name.startswith(("PYTHON", "CARBONQUOTA_", "LD_"))
    }
    key = (modules, tuple(sorted(decisive.items())))
    if key not in _servers:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-m", __spec__.name, str(number), *modules]
            process = subprocess.Popen(
                command,
                pass_fds=[number],
                env={**environment, "OPENBLAS_NUM_THREADS": "1"},
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
            )
        _servers[key] = _Server(process, ours)
    return _servers[key].connection


@dataclass(frozen=True, slots=True)
class _Child:
    """A process that was forked, and where its exit code is to be told."""

    pid: int
    connection: socket.socket


def _serve(control: socket.socket) -> bool:
    """Fork a process for each request until there are no more; True in such a process, ready to run its command."""
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    _tell_end(selector, key)
                    continue
                data, handles, _, _ = socket.recv_fds(control, _MOST, 2)
                if not data:
                    return False
                output, connection = handles[0], socket.socket(fileno=handles[1])
                pid = os.fork()
                if pid == 0:
                    connection.close()
                    _leave_others(selector)
                    _become(json.loads(data), output)
                    return True
                os.close(output)
                handle = os.pidfd_open(pid)
                socket.send_fds(connection, [str(pid).encode()], [handle])
                selector.register(handle, selectors.EVENT_READ, _Child(pid, connection))


def _leave_others(selector: selectors.BaseSelector) -> None:
    """Close what a new process inherited of the others'."""
    for key in list(selector.get_map().values()):
        if key.data is not None:
            os.close(key.fd)
            key.data.connection.close()


def _tell_end(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Send a child's exit code, negative for the signal that ended it."""
    child: _Child = key.data
    selector.unregister(key.fileobj)
    os.close(key.fd)
    _, status = os.waitpid(child.pid, 0)
    with child.connection, suppress(BrokenPipeError):
        child.connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: dict[str, Any], output: int) -> None:
    """Let this process be one that was started with the request's arguments."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["command"]


def _main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as control:
        for name in sys.argv[2:]:
            importlib.import_module(name)
        gc.freeze()
        is_child = _serve(control)
    if is_child and sys.argv[0] == "carbonquota":
        runpy.run_module("carbonquota.cli", run_name="__main__", alter_sys=True)
    elif is_child:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    _main()
