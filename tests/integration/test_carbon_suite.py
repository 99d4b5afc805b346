"""Carbon's own tests, with quotas in its pipeline: nothing fails that does not fail without them.

They are in carbon's repository only, so they run where CARBON_CHECKOUT names a checkout of it at the release that is
installed:

    git clone --branch 1.1.10 https://github.com/graphite-project/carbon
    CARBON_CHECKOUT=$PWD/carbon make test
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "support" / "carbon_suite.py"
CHECKOUT = os.environ.get("CARBON_CHECKOUT", "")


def outcome(folder: Path, *quotas: Path) -> dict[str, Any]:
    """How many of them ran, and which failed."""
    folder.mkdir()
    done = subprocess.run(
        # Without -P, the folder of the script would come first, and its carbon.py with it.
        [sys.executable, "-P", str(SCRIPT), str(folder), str(Path(CHECKOUT).resolve()), *map(str, quotas)],
        capture_output=True,
        # Carbon's own messages are of a protobuf that was older than the one which other parts need.
        env=os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(not CHECKOUT, reason="CARBON_CHECKOUT names no checkout of carbon's repository")
def test_carbons_own_tests_have_the_same_outcome_with_quotas(tmp_path: Path) -> None:
    quotas = tmp_path / "storage-quotas.conf"
    quotas.write_text("[/]\nmetrics = 1\nthroughput = 1\n")
    plain, with_quotas = outcome(tmp_path / "plain"), outcome(tmp_path / "quotas", quotas)
    assert with_quotas == plain
    assert plain["ran"] > 150
    assert len(plain["failed"]) < 10, plain["failed"]
