"""States damaged in every way, and clocks that jump: each restart begins with a moment that there was."""

from __future__ import annotations

import random
from pathlib import Path

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.service.state import StateKeeper
from carbonquota.testing import ManualClock
from tests.soak.lengths import length

NOW = 2_000_000_000.0
SIZES = [Size(10, 4096, 3), Size(22, 8192, 4)]
HOW = ("cut", "flipped", "zeros", "rubbish", "gone", "twice")


def engine_at(clock: ManualClock, limit: int = 10**6) -> QuotaEngine:
    return QuotaEngine(
        RuleSet.from_text(f"[/]\nmetrics = {limit}\nthroughput = 1000\n"),
        size_of=lambda name: SIZES[len(name) % 2],
        clock=clock,
        record_changes=True,
        keep_seen=True,
    )


def moments(directory: Path) -> list[set[str]]:
    """A state with two snapshots and journals; all that was held at some moment."""
    clock = ManualClock(NOW)
    engine = engine_at(clock)
    keeper = StateKeeper(str(directory), engine, clock)
    keeper.restore()
    keeper.go_live()
    held: list[set[str]] = [set()]
    for step in range(12):
        engine.offer(f"a.n{step % 3}.m{step}")
        if step % 5 == 4:
            engine.forget(f"a.n{(step - 2) % 3}.m{step - 2}")
        keeper.write_ahead()
        if step in {3, 8}:
            keeper.snapshot()
        held.append({name.decode() for name in engine.holdings().names})
    keeper.abandon()
    return held


def damaged(content: bytes, how: str, chance: random.Random) -> bytes | None:
    """A file's content, damaged; None where it is to be gone."""
    place = chance.randrange(max(len(content), 1))
    return {
        "cut": content[:place],
        "flipped": content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :],
        "zeros": content[:place] + bytes(len(content) - place),
        "rubbish": content[:place] + chance.randbytes(20) + content[place:],
        "gone": None,
        "twice": content + content,
    }[how]


def test_every_damaged_state_is_begun_with_as_far_as_it_is_good(tmp_path: Path) -> None:
    chance = random.Random(1)
    held = moments(tmp_path)
    names = set().union(*held)
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*-????????????")}
    whole = 0
    for turn in range(length("STATES", 11_520)):
        for path in tmp_path.glob("*-*"):
            path.unlink()
        victims = chance.sample(sorted(files), chance.randint(1, 2))
        for name, content in files.items():
            kept = damaged(content, HOW[turn % len(HOW)], chance) if name in victims else content
            if kept is not None:
                (tmp_path / name).write_bytes(kept)
        clock = ManualClock(NOW + turn)
        engine = engine_at(clock)
        keeper = StateKeeper(str(tmp_path), engine, clock)
        keeper.restore()
        found = {name.decode() for name in engine.holdings().names}
        assert found <= names
        assert engine.usage().metrics == len(found)
        whole += found in held
        engine.offer("z.goes-on")
        keeper.close()
        again = engine_at(clock)
        keeper = StateKeeper(str(tmp_path), again, clock)
        keeper.restore()
        assert {name.decode() for name in again.holdings().names} == found | {"z.goes-on"}
        keeper.abandon()
        assert len(list(tmp_path.glob("*.damaged-*"))) <= 4
    assert whole


def test_a_clock_that_jumps_anywhere_passes_no_limit_and_loses_no_metric(tmp_path: Path) -> None:
    chance = random.Random(1)
    clock = ManualClock(NOW)
    engine = engine_at(clock, limit=200)
    keeper = StateKeeper(str(tmp_path), engine, clock)
    keeper.restore()
    keeper.go_live()
    accepted: set[str] = set()
    for turn in range(length("JUMPS", 20_000)):
        clock.set(NOW + chance.choice([-1e9, -86_400, -61, -1, 0, 1, 61, 86_400, 1e9]) * chance.random())
        name = f"a.n{turn % 7}.m{turn % 1000}"
        if engine.offer(name):
            accepted.add(name)
        keeper.write_ahead()
        if turn % 500 == 499:
            keeper.flush()
            keeper.snapshot()
            engine.report()
        assert engine.usage().metrics == len(accepted) <= 200
    keeper.abandon()
    after = engine_at(clock)
    keeper = StateKeeper(str(tmp_path), after, clock)
    keeper.restore()
    assert {name.decode() for name in after.holdings().names} == accepted
    keeper.abandon()
