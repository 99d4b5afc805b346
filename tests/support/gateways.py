"""Real gateways in front of a real application, with the configurations of examples/gateways but for their ports."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loopback_ports import free_port

from tests.support.daemon import wait_until
from tests.support.limiter import LimiterProcess

EXAMPLES = Path(__file__).parents[2] / "examples" / "gateways"


class Application:
    """An application that answers 200 to everything, and counts what it is asked."""

    def __init__(self) -> None:
        self.requests = 0
        self.port = free_port()
        self._begun = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._begun.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    @contextmanager
    def running(self) -> Iterator[Application]:
        """It, for as long as the block runs."""
        self._thread.start()
        assert self._begun.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)


def filled(name: str, ports: Mapping[int, int]) -> str:
    """An example's text with other ports, and patience for a machine that has much else to do."""
    text = (EXAMPLES / name).read_text()
    for written in ports:
        assert str(written) in text, f"{name} has no port {written}"
    text = re.sub("|".join(map(str, ports)), lambda found: str(ports[int(found[0])]), text)
    return patient(text)


def patient(text: str) -> str:
    """The text of a configuration with 20 s for what the limiter may take."""
    text = re.sub(
        r"timeout: 0\.25s|read_timeout 1s|timeout server 1s|inter 1s",
        lambda found: re.sub(r"[\d.]+s$", "20s", found[0]),
        text,
    )
    return text.replace("timeout = 1000", "timeout = 20000")


@contextmanager
def gateway(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """A gateway that runs for as long as the block does, from when it answers at `port`."""
    log_path = folder / "gateway.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=os.environ)

    def answers() -> bool:
        assert process.poll() is None, log_path.read_text(errors="replace")
        return _listens(port)

    try:
        wait_until(answers, lambda: log_path.read_text(errors="replace"), 30)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def example_limiter(folder: Path) -> LimiterProcess:
    """The limiter of the examples, on free ports, with years for minutes, so that none ends in a test; not started."""
    rules = (EXAMPLES / "limits.yaml").read_text()
    one = LimiterProcess(folder, rules.replace("unit: minute", "unit: year"))
    text = (EXAMPLES / "limiter.toml").read_text()
    for port in (8080, 8081, 6070):
        text = text.replace(f":{port}", ":0")
    one.configuration.write_text(text)
    return one
