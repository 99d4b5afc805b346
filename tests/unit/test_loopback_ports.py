"""No port is given out twice on a machine, whichever process asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from loopback_ports import free_ports

TOOLS = Path(__file__).parents[2] / "tools"
ASK = "import sys; sys.path.insert(0, sys.argv[1]); from loopback_ports import free_ports; print(*free_ports(200))"


def test_two_processes_are_never_given_the_same_port() -> None:
    command = [sys.executable, "-c", f"{ASK}; sys.stdout.flush(); sys.stdin.read()", str(TOOLS)]
    others = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        given = [*free_ports(50)]
        for other in others:
            assert other.stdout
            given += map(int, other.stdout.readline().split())
        assert len(given) == 450
        assert len(set(given)) == len(given)
    finally:
        for other in others:
            other.communicate()
