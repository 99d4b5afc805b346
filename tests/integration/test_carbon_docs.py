"""The page on Graphite's carbon, followed as a new user would: from a stock carbon to quotas, and back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.carbon_daemons import Graphite, environment
from tests.support.daemon import PATIENCE, wait_until
from tests.support.examples import Example, blocks, examples

PAGE = Path(__file__).parents[2] / "docs" / "graphite-carbon.md"


def localized(folder: Path, root: Path, line_port: int) -> Path:
    """The page with its examples to be run, for another root and port."""
    text = PAGE.read_text().replace("doc-test: live", "doc-test: run")
    text = text.replace("/opt/graphite", str(root)).replace("127.0.0.1/2003", f"127.0.0.1/{line_port}")
    page = folder / PAGE.name
    page.write_text(text)
    return page


def readers_environment(root: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return environment(root) | {"PATH": path, "PYTHONWARNINGS": "ignore", "COLUMNS": "200"}


class Reader:
    """Somebody who follows the page, and looks again where a thing takes a moment."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._code = 0

    def follow(self, example: Example) -> None:
        """Give a command, and again until it prints what the page says."""
        done = self._run(example)
        end = time.monotonic() + PATIENCE
        while not example.matches(done.stdout) and time.monotonic() < end:
            time.sleep(0.1)
            done = self._run(example)
        assert example.matches(done.stdout), f"line {example.line}: $ {example.command}\n{done.stdout}"
        self._code = done.returncode

    def _run(self, example: Example) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", f"(exit {self._code}); {example.command}"],
            cwd=self._root,
            env=readers_environment(self._root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def test_the_page_holds_from_a_stock_carbon_to_quotas_and_back(tmp_path: Path) -> None:
    root = tmp_path / "graphite"
    graphite = Graphite(root)
    stock = graphite.daemon(ours=False)
    for number in range(5):
        graphite.create(f"team.b.m{number}")
    reader = Reader(root)
    assert stock.run("start").returncode == 0
    try:
        wait_until(stock.listens, "does not listen")
        for block in blocks(localized(tmp_path, root, stock.ports.line)):
            if block.file:
                graphite.write(block.file, block.text)
                graphite.configure("cache", QUOTAS_FILE=block.file)
                continue
            for example in examples(block):
                reader.follow(example)
    finally:
        stock.run("stop")
    wait_until(lambda: stock.run("status").returncode == 1, "still running")
    assert not (root / "storage" / "quotas").exists()
