"""What the daemon writes to its log stays bounded, wherever the log lies and whatever goes wrong."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.daemon import running


def test_a_debug_log_beside_the_configuration_comes_to_rest(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules="[/]\nmetrics = 5\n", arguments=("--log-level", "debug")) as daemon:
        daemon.send(f"a.b 1 {int(time.time())}\n")
        daemon.settled(lambda counts: counts.received == 1)
        before = daemon.log_path.stat().st_size
        time.sleep(2)
        assert daemon.log_path.stat().st_size - before < 1000
