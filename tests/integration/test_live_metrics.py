"""The names of this machine: many, well-formed, each once, and good input for the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from carbonquota import QuotaEngine, RuleSet

TOOL = Path(__file__).parents[2] / "tools" / "live_metrics.py"
LINE = re.compile(r"servers\.[\w-]+\.(cpu|memory|disk|network|process)(\.[A-Za-z0-9_-]+)+ -?[0-9.e+-]+ [0-9]{10}")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_there_are_many_names_and_each_stands_once(lines: list[str]) -> None:
    names = [line.split()[0] for line in lines]
    assert len(names) >= 100
    assert len(set(names)) == len(names)


def test_every_line_is_a_point(lines: list[str]) -> None:
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    admission = QuotaEngine(RuleSet.from_text("")).admit("\n".join(lines).encode())
    assert (admission.points, admission.malformed) == (len(lines), 0)


def test_they_are_the_names_of_this_machine(lines: list[str]) -> None:
    text = "\n".join(lines)
    for core in range(psutil.cpu_count() or 1):
        assert f".cpu.core{core}.seconds.user " in text
    assert ".memory.virtual.total " in text
    # This process runs both now and when the tool did.
    assert f".{os.getpid()}.num_threads " in text


def test_a_dry_run_takes_them(lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "rules.conf").write_text("[servers.*]\nmetrics = 10\n")
    done = subprocess.run(
        [sys.executable, "-m", "carbonquota.cli", "dry-run", "--rules", "rules.conf", "--json", "-"],
        cwd=tmp_path,
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    document = json.loads(done.stdout)
    assert document["points"] == {"offered": len(lines), "accepted": 10, "rejected": len(lines) - 10}


def test_a_reader_that_leaves_early_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, str(TOOL)], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert done.stderr == b""
