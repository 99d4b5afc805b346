"""What quotas inside carbon are wired from: rules, sizes, scan and state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import whisper
from carbon.pipeline import Processor
from twisted.internet.task import Clock

from carbonquota.client.fleet import FleetRules, FleetSettings
from carbonquota.client.kept_rules import KeptRules
from carbonquota.errors import ConfigError, QuotaError
from carbonquota.model import Size
from carbonquota.plugins.install import acting_as, check_state_directory
from carbonquota.plugins.service import Carbon, CarbonParts, ReactorTimers
from carbonquota.plugins.settings import CarbonHost, QuotaSettings
from carbonquota.service.runtime import Runtime
from carbonquota.service.runtime_settings import RuntimeSettings
from carbonquota.service.scan import at_once
from carbonquota.service.state.files import DirectoryLock
from carbonquota.storage.paths import hashed_path_of
from carbonquota.testing import ManualClock

ONE_POINT_A_MINUTE_FOR_A_WEEK = Size(logical=120_988, physical=122_880, data_points=10_080)


@pytest.fixture
def settings(tmp_path: Path) -> QuotaSettings:
    (tmp_path / "quotas.conf").write_text("[/]\nmetrics = 3\nlogical-size = max\n")
    return QuotaSettings(
        quotas_file=str(tmp_path / "quotas.conf"),
        physical_size_factor=1.0,
        runtime=RuntimeSettings(scan_frequency=0.0, state_enabled=False, state_dir=str(tmp_path / "state")),
    )


@pytest.fixture
def host(tmp_path: Path) -> CarbonHost:
    (tmp_path / "storage-schemas.conf").write_text("[servers]\npattern = ^servers\nretentions = 1:10\n")
    return CarbonHost(
        program="carbon-cache",
        stats_prefix="carbon.agents.web1-a",
        own_prefixes=("carbon.agents.web1.", "carbon.agents.web1-"),
        schemas_file=str(tmp_path / "storage-schemas.conf"),
        data_dir=str(tmp_path / "whisper"),
        sparse=False,
        hashes_tags=True,
    )


def parts(settings: QuotaSettings, host: CarbonHost) -> CarbonParts:
    carbon = Carbon(Processor(), None, lambda: inf, at_once, lambda _: None, lambda _: False, ReactorTimers(Clock()))
    return CarbonParts(settings, host, carbon, ManualClock(1_700_000_000.0))


def runtime(settings: QuotaSettings, host: CarbonHost) -> Runtime:
    return parts(settings, host).runtime


def store(host: CarbonHost, path: str) -> Path:
    file = Path(host.data_dir) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    whisper.create(str(file), [(1, 10)])
    return file


def test_sizes_are_those_of_carbons_schemas_and_without_one_what_carbon_makes_then(
    settings: QuotaSettings, host: CarbonHost
) -> None:
    engine = runtime(settings, host).engine
    engine.offer("servers.web1.cpu")
    assert engine.usage("/").data_points == 10
    engine.offer("other.cpu")
    expected = Size(
        *(getattr(engine.usage("other"), name) for name in ("logical_size", "physical_size", "data_points"))
    )
    assert expected == ONE_POINT_A_MINUTE_FOR_A_WEEK


def test_sparse_files_take_their_share(settings: QuotaSettings, host: CarbonHost) -> None:
    engine = runtime(replace(settings, physical_size_factor=0.5), replace(host, sparse=True)).engine
    engine.offer("other.cpu")
    assert engine.usage("other").physical_size == 61_440


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("quotas.conf", "[/]\nmetricz = 3\n", '{path}:2:1: unknown key "metricz"'),
        ("quotas.conf", None, "{path}: there is no such file"),
        ("storage-schemas.conf", "[x]\nretentions = often\n", "{path}: [x]: carbon cannot read retentions = often; "),
    ],
)
def test_a_bad_file_is_told_with_its_place(
    settings: QuotaSettings, host: CarbonHost, tmp_path: Path, name: str, text: str | None, problem: str
) -> None:
    path = tmp_path / name
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parts(settings, host)
    assert str(caught.value).startswith(problem.format(path=path))


def test_the_scan_counts_the_files_but_not_carbons_own(settings: QuotaSettings, host: CarbonHost) -> None:
    for path in ("servers/web1/cpu.wsp", "carbon/agents/web1-a/cpuUsage.wsp", "carbon/agents/web2-a/cpuUsage.wsp"):
        store(host, path)
    made = runtime(settings, host)
    assert made.scanner is not None
    made.scanner.scan()
    assert ("servers.web1.cpu" in made.engine, "carbon.agents.web2-a.cpuUsage" in made.engine) == (True, True)
    assert len(made.engine) == 2


def test_a_tagged_series_is_known_by_the_hash_that_carbon_files_it_under(
    settings: QuotaSettings, host: CarbonHost
) -> None:
    made = runtime(settings, host)
    assert made.scanner is not None
    made.engine.offer("cpu;host=a;dc=x")
    file = store(host, hashed_path_of("cpu;dc=x;host=a"))
    made.scanner.scan()
    assert "cpu;dc=x;host=a" in made.engine
    assert made.engine.usage("/").data_points == 10
    store(host, "servers/web1/cpu.wsp")
    file.unlink()
    made.scanner.scan()
    assert "cpu;dc=x;host=a" not in made.engine


def test_what_stores_nothing_scans_nothing(settings: QuotaSettings, host: CarbonHost) -> None:
    assert runtime(settings, replace(host, program="carbon-relay", data_dir="")).scanner is None


def test_the_log_names_the_setting_that_bounds_new_metrics(
    settings: QuotaSettings, host: CarbonHost, caplog: pytest.LogCaptureFixture
) -> None:
    limited = replace(settings.runtime, max_creates_per_second=1)
    made = parts(replace(settings, runtime=limited), host)
    for metric in ("a", "b"):
        made.processor.process(metric, (60.0, 1.0))
    made.processor.flush()
    assert caplog.messages == ["namespace / is throttled by QUOTA_MAX_CREATES_PER_SECOND = 1; dropped: b"]


def test_metrics_that_were_not_seen_for_long_expire(settings: QuotaSettings, host: CarbonHost) -> None:
    clock = ManualClock(1_700_000_000.0)
    carbon = Carbon(Processor(), None, lambda: inf, at_once, lambda _: None, lambda _: False, ReactorTimers(Clock()))
    expiring = replace(settings, runtime=replace(settings.runtime, series_ttl=60.0))
    made = CarbonParts(expiring, host, carbon, clock).runtime
    made.engine.offer("a")
    for _ in range(13):
        # A greater step would be taken for a clock that is set forward.
        clock.advance(5)
        made.expiry.run()
    assert len(made.engine) == 0
    assert [sample.value for sample in made.expiry.health()] == [1]


def test_a_report_has_what_the_daemons_has(settings: QuotaSettings, host: CarbonHost) -> None:
    lines = b"".join(piece.lines for piece in runtime(settings, host).reporter.report().pieces).decode()
    names = {line.split(" ")[0].removeprefix("carbon.agents.web1-a.") for line in lines.splitlines()}
    assert names >= {
        "quota.metrics.root",
        "usage.metrics.root",
        "throttle.root",
        "dropped.root",
        "carbonquota.received",
        "carbonquota.accepted",
        "carbonquota.series",
        "carbonquota.namespaces",
        "carbonquota.reload_ok",
        "carbonquota.scan_time",
        "carbonquota.start_time",
        "carbonquota.internal_errors.decision",
    }


def test_the_state_directory_is_made_and_left_unlocked(tmp_path: Path) -> None:
    directory = tmp_path / "storage" / "quotas" / "carbon-cache-a"
    check_state_directory(str(directory), None)
    check_state_directory(str(directory), None)
    DirectoryLock(directory).release()


def test_a_state_directory_that_cannot_be_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "quotas").write_text("")
    directory = tmp_path / "quotas" / "carbon-cache-a"
    with pytest.raises(QuotaError) as caught:
        check_state_directory(str(directory), None)
    assert str(caught.value) == (
        f"{directory}: no directory to keep the state of quotas in: file exists; "
        "set QUOTA_STATE_DIR to one that the user carbon runs as can write to"
    )


def test_a_state_directory_in_use_is_told(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    try:
        with pytest.raises(QuotaError, match="another carbonquota with the process number"):
            check_state_directory(str(tmp_path), None)
    finally:
        lock.release()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that others than its owner can reach, as those of pytest are not."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
def test_what_carbons_user_cannot_write_is_found_before_it_runs_as_him(open_path: Path) -> None:
    nobody = (65534, 65534)
    made = open_path / "made"
    check_state_directory(str(made), nobody)
    assert made.stat().st_uid == 65534
    os.chown(made, 0, 0)
    with pytest.raises(QuotaError, match="quotas in: permission denied; set QUOTA_STATE_DIR to"):
        check_state_directory(str(made), nobody)
    os.chown(made, *nobody)
    (made / "lock").chmod(0)
    os.chown(made / "lock", 0, 0)
    with pytest.raises(QuotaError, match="its lock is another user's; set QUOTA_STATE_DIR to"):
        check_state_directory(str(made), nobody)
    with acting_as(nobody):
        assert (os.geteuid(), os.getegid()) == nobody
    assert os.geteuid() == 0


def test_rules_of_the_quota_service_that_are_kept_are_in_force_while_it_is_away(
    settings: QuotaSettings, host: CarbonHost, tmp_path: Path
) -> None:
    text = "[team.*]\nmetrics = 1\n"
    rules = FleetRules(3, 2, "enforced", sha256(text.encode()).hexdigest(), text)
    (tmp_path / "state").mkdir()
    KeptRules(str(tmp_path / "state" / "hub-rules.json")).write(rules)
    hub = FleetSettings("http://127.0.0.1:1", wait=1.0)
    made = parts(replace(settings, hub=hub, runtime=replace(settings.runtime, state_enabled=True)), host)
    assert [rule.pattern for rule in made.runtime.engine.rules.rules] == ["team.*"]
    assert made.follower is not None
    made.follower.step()
    assert "cannot be reached" in made.follower.troubles[0]
    assert "release 3 stays in force" in made.follower.troubles[0]
    assert parts(settings, host).follower is None
