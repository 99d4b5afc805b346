"""An input is known to all of the daemon by one file: its keys, its checks, its listener and its health."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import carbonquota

INPUT = '''\
"""The input `[lines]`: lines from the depths."""

from functools import partial
from socket import SOCK_STREAM

from carbonquota.daemon.inputs.declaration import Input, InputSettings, register
from carbonquota.daemon.inputs.tcp import TcpConnection
from carbonquota.service.values.address import Address


class LinesConnection(TcpConnection):
    receiver = "lines"


register(
    Input(
        section="lines",
        title="lines",
        kind=SOCK_STREAM,
        defaults=InputSettings(Address("127.0.0.1", 2009)),
        protocol=lambda _, intake, pool: partial(LinesConnection, intake, pool),
    )
)
'''

PROGRAM = """\
import asyncio
from carbonquota.daemon.configuration import format_settings, read_configuration
from carbonquota.daemon.inputs.receivers import Receivers
from carbonquota.daemon.intake import Intake
from tests.support.receiving import KeepingSink, until
from tests.support.small import engine_under

OFF = "[tcp]\\nenabled = false\\n[udp]\\nenabled = false\\n[pickle]\\nenabled = false\\n"
for text in ("[lines]\\nlisten = 1\\n", "[lines]\\nlisten = \\":2003\\"\\n", "[lines]\\nlistn = 1\\n"):
    print(*(problem.message for problem in read_configuration(text, "c.conf").problems))
settings = read_configuration(OFF + "[lines]\\nlisten = \\"127.0.0.1:0\\"\\n", "c.conf").settings
print(format_settings(settings).partition("[lines]")[2].splitlines()[1:3])

async def main():
    sink = KeepingSink()
    intake = Intake(engine_under().admit, sink)
    receivers = Receivers(settings.inputs, intake)
    await receivers.start()
    address = receivers.addresses["lines"][0]
    _, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"a.b 1 1700000000\\n")
    await until(lambda: sink.lines)
    print(sink.lines, [sample.value for sample in receivers.health() if sample.label == "lines"])
    writer.close()
    await receivers.close(grace=0)

asyncio.run(main())
"""


def test_adding_an_input_takes_one_file(tmp_path: Path) -> None:
    package = Path(carbonquota.__file__).parent
    shutil.copytree(package, tmp_path / "carbonquota", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "carbonquota" / "daemon" / "inputs" / "lines.py").write_text(INPUT)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[3]}"}
    command = [sys.executable, "-P", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path)
    assert (done.stderr, done.stdout.splitlines()) == (
        "",
        [
            "listen: this is text, not the number 1",
            "[lines] would listen at :2003, where [tcp] listens already, at :2003",
            'unknown key "listn" in [lines]',
            "['listen = \"127.0.0.1:0\"', 'enabled = true']",
            "[b'a.b 1 1700000000\\n'] [1]",
        ],
    )
