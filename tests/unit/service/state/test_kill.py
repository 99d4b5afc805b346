"""kill -9 in a loop under load: what was flushed is there, and nothing is half read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.state import restored

CHILD = """
import sys
from itertools import count
from carbonquota import QuotaEngine, RuleSet
from carbonquota.service.state import StateKeeper

engine = QuotaEngine(RuleSet.from_text(""), record_changes=True)
keeper = StateKeeper(sys.argv[1], engine)
keeper.restore()
for batch in count():
    lines = b"".join(b"kill.r%s.b%d.m%d 1 1\\n" % (sys.argv[2].encode(), batch, number) for number in range(50))
    engine.admit(lines)
    keeper.flush()
    print(batch, flush=True)
    if batch % 7 == 3:
        keeper.snapshot()
"""


def test_kill_dash_nine_under_load_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    flushed: dict[int, int] = {}
    for turn in range(5):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                flushed[turn] = int(line)
                if flushed[turn] == 20 + 9 * turn:
                    child.kill()
        held = set(restored(tmp_path))
        for past, last in flushed.items():
            wanted = {f"kill.r{past}.b{batch}.m{number}" for batch in range(last + 1) for number in range(50)}
            assert wanted <= held
            batches = {name.split(".")[2] for name in held if name.startswith(f"kill.r{past}.")}
            # Of a batch whose flush was never told of, all is there or nothing.
            assert len(held & {f"kill.r{past}.{batch}.m{number}" for batch in batches for number in range(50)}) == (
                50 * len(batches)
            )
            assert len(batches) - (last + 1) in {0, 1}
    # A killed process may leave half a record, and never half a snapshot.
    assert not list(tmp_path.glob("snapshot-*.damaged-*"))
