"""Servers of the quota service on one database, asked for writes all the while, and killed at random moments."""

from __future__ import annotations

import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import grpc
import httpx
from loopback_ports import free_port

from carbonquota.client.hub import HubClient
from carbonquota.client.json_service import ServiceAwayError
from carbonquota.client.rules import RulesClient
from tests.support import preloaded
from tests.support.preloaded import Process

QUOTA = 100_000_000
_WITHIN = 120.0


class ServedHub:
    """`carbonquota serve` in a folder, by itself on SQLite."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.arguments = arguments
        self.http, self.grpc = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.process: Process | None = None

    def start(self) -> None:
        self.begin()
        self.wait()

    def begin(self) -> None:
        command = ["serve", "--listen", f"127.0.0.1:{self.http}"]
        command += ["--grpc-listen", f"127.0.0.1:{self.grpc}", *self.arguments]
        with (self.folder / "log").open("ab") as log:
            self.process = preloaded.start(command, cwd=self.folder, output=log)

    def wait(self) -> None:
        """Until it answers."""
        assert self.process is not None
        deadline = time.monotonic() + _WITHIN
        while not self._answers():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def _answers(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health").status_code == 200
        return False

    def put(self, path: str, **document: object) -> httpx.Response:
        return httpx.put(f"{self.url}/v1/{path}", json=document)

    def client(self) -> HubClient:
        return HubClient(f"127.0.0.1:{self.grpc}", timeout=10.0)

    def end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(_WITHIN)
            self.process = None


class KilledHubs:
    """Several servers, what they granted, and what they acknowledged."""

    def __init__(self, folder: Path, count: int, *arguments: str, seed: int = 7) -> None:
        """With these arguments each. Nothing runs yet."""
        self.servers = [ServedHub(folder, *arguments) for _ in range(count)]
        self.chance = random.Random(seed)
        self.granted = [0] * count
        self.quotas = 0
        self.deaths = 0
        self.releases = 0

    def start(self) -> None:
        """All at once: the first makes the tables."""
        self.servers[0].start()
        for one in self.servers[1:]:
            one.begin()
        for one in self.servers[1:]:
            one.wait()
        assert self.servers[0].put("providers/ssd").status_code in {200, 201}
        assert self.servers[0].put("customers/acme/quota", limits={"bytes": QUOTA}).status_code in {200, 201}
        # All know of it within the freshness, a second.
        for one in self.servers:
            deadline = time.monotonic() + _WITHIN
            while httpx.get(f"{one.url}/v1/customers/acme/quota").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def kill_one(self) -> None:
        """Kill a server in the middle of grants, changes of quotas and releases, and start it again."""
        victim = self.chance.randrange(len(self.servers))
        server, ending = self.servers[victim], Event()
        asking = [Thread(target=self._ask, args=(number, ending)) for number in range(len(self.servers))]
        changing = Thread(target=self._change, args=(server,))
        for thread in (*asking, changing):
            thread.start()
        before, deadline = self.quotas, time.monotonic() + _WITHIN
        while self.quotas == before:
            assert time.monotonic() < deadline, server.log
            time.sleep(0.01)
        time.sleep(self.chance.uniform(0.0, 0.4))
        server.end(signal.SIGKILL)
        self.deaths += 1
        changing.join()
        ending.set()
        for thread in asking:
            thread.join()
        server.start()

    def _ask(self, number: int, ending: Event) -> None:
        with self.servers[number].client() as client, suppress(grpc.RpcError):
            while not ending.is_set():
                self.granted[number] += client.write_ok("acme", "ssd", self.chance.randrange(1, 3000)).granted

    def _change(self, server: ServedHub) -> None:
        """Change a quota and release rules, again and again, until the server is killed."""
        rules = RulesClient(server.url, "")
        with suppress(httpx.TransportError, ServiceAwayError):
            while server.put("customers/other/quota", limits={"bytes": self.quotas + 1}).status_code == 200:
                self.quotas += 1
                version = rules.push(f"[team.*]\nmetrics = {self.quotas}\n")
                rules.release(version["number"], "enforced")
                self.releases += 1

    def fill(self) -> None:
        """Ask all servers until none grants anything more."""
        for number, one in enumerate(self.servers):
            with one.client() as client:
                for size in (100_000, 3_000, 100, 1):
                    while granted := client.write_ok("acme", "ssd", size).granted:
                        self.granted[number] += granted

    def check(self) -> None:
        """No quota was passed, and all that was acknowledged is there."""
        assert sum(self.granted) <= QUOTA, self.granted
        base = f"{self.servers[0].url}/v1"
        limit = httpx.get(f"{base}/customers/other/quota").json()["limits"]["bytes"]
        # What was committed as it died was not acknowledged any more.
        assert self.quotas <= limit <= self.quotas + self.deaths
        entries = self._entries(base, "customer/other")
        assert self.quotas <= len(entries) <= self.quotas + self.deaths
        assert [entry["after"]["bytes"] for entry in reversed(entries)] == sorted(
            entry["after"]["bytes"] for entry in entries
        )
        releases = httpx.get(f"{base}/rules/releases").json()["releases"]
        assert self.releases <= len(releases) <= self.releases + self.deaths
        assert len(self._entries(base, "rules")) == len(releases)

    def _entries(self, base: str, subject: str) -> list[dict[str, dict[str, int]]]:
        """All entries of the audit about something."""
        found: list[dict[str, dict[str, int]]] = []
        before = ""
        while True:
            page = httpx.get(f"{base}/audit?limit=1000&subject={subject}{before}").json()["entries"]
            found += page
            if len(page) < 1000:
                return found
            before = f"&before={page[-1]['number']}"

    def end(self) -> None:
        """Leave none running."""
        for one in self.servers:
            one.end(signal.SIGKILL)
