"""How long a release of rules takes to reach a thousand daemons that hold a long poll.

A quota service runs as a process of its own; the daemons are light clients on one event loop, each with a connection
that it keeps. Printed are the times from the answer to the release until half, and until all of them have its text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from carbonquota.web.access import Role
from tests.support.hub import HubProcess, hub_process

RULES = "".join(f"[team{number}.*]\nmetrics = {number + 1}\n" for number in range(1000))


class LightDaemon:
    """Polls over a connection of its own."""

    def __init__(self, number: int, port: int, token: str) -> None:
        """It is called `node<number>`."""
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        self._number = number
        self._port = port
        self.seen = 0
        self.got: dict[int, float] = {}

    async def run(self) -> None:
        """Poll until cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while True:
                path = f"/v1/rules/in-force?node=node{self._number}&running={self.seen}&wait=50"
                request = f'GET {path} HTTP/1.1\r\n{self._head}If-None-Match: "{self.seen}"\r\n\r\n'
                writer.write(request.encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                body = await reader.readexactly(length)
                if head.startswith("http/1.1 200"):
                    self.seen = json.loads(body)["release"]
                    self.got[self.seen] = time.monotonic()
                elif not head.startswith(("http/1.1 204", "http/1.1 304")):
                    raise SystemExit(f"the service answers {head}{body!r}")
        finally:
            writer.close()


async def measure(hub: HubProcess, count: int, rounds: int) -> list[tuple[float, float]]:
    """The seconds until half, and until all of the daemons have a release, for each round."""
    daemons = [LightDaemon(number, hub.port, hub.tokens[Role.PROVIDER]) for number in range(count)]
    tasks = []
    for daemon in daemons:
        tasks.append(asyncio.create_task(daemon.run()))
        # As many at once would not come from machines of their own either.
        await asyncio.sleep(0.002)
    await asyncio.sleep(2)
    times = []
    for number in range(1, rounds + 1):
        version = await asyncio.to_thread(hub.rules.push, f"{RULES}# {number}\n")
        begun = time.monotonic()
        release = await asyncio.to_thread(hub.rules.release, version["number"], "enforced")
        while not all(release["number"] in daemon.got for daemon in daemons):
            if time.monotonic() - begun > 60:
                missing = sum(release["number"] not in daemon.got for daemon in daemons)
                raise SystemExit(f"{missing} daemons have no release after a minute: {hub.log[-2000:]}")
            await asyncio.sleep(0.01)
        took = sorted(daemon.got[release["number"]] - begun for daemon in daemons)
        times.append((took[count // 2], took[-1]))
        await asyncio.sleep(2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemons", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    with tempfile.TemporaryDirectory() as folder, hub_process(Path(folder) / "hub") as hub:
        times = asyncio.run(measure(hub, arguments.daemons, arguments.rounds))
    for half, last in times:
        print(f"{arguments.daemons:,} daemons: half have the release after {half:.2f} s, all after {last:.2f} s")
    if arguments.json:
        document = {"daemons": arguments.daemons, "seconds": [{"half": half, "all": last} for half, last in times]}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
