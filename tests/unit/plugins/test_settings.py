"""The quota settings of carbon.conf: what they mean, what is wrong with them, and the example of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from carbon.conf import Settings

from carbonquota.client.fleet import FleetSettings
from carbonquota.cluster.peers import Peer
from carbonquota.cluster.settings import ClusterSettings
from carbonquota.controls import ThroughputUnit
from carbonquota.errors import ConfigError
from carbonquota.plugins.settings import SETTINGS, QuotaSettings, read_settings
from carbonquota.service.runtime_settings import RuntimeSettings

EXAMPLE = Path(__file__).parents[3] / "etc" / "carbon-quotas.conf"
SECTIONS = ["cache", "relay", "aggregator", "aggregator-cache"]
CARBONS = {
    "program": "carbon-cache",
    "instance": "a",
    "CONF_DIR": "/opt/graphite/conf",
    "STORAGE_DIR": "/opt/graphite/storage",
}
DEFAULTS = QuotaSettings(
    quotas_file="/opt/graphite/conf/storage-quotas.conf",
    physical_size_factor=1.0,
    runtime=RuntimeSettings(
        usage_report_frequency=60.0,
        scan_frequency=300.0,
        throughput_unit="interval",
        max_creates_per_second=0,
        state_enabled=True,
        state_dir="/opt/graphite/storage/quotas/carbon-cache-a",
        state_snapshot_frequency=300.0,
        series_ttl=0.0,
    ),
)


def as_carbon_reads(path: Path, *sections: str) -> dict[str, Any]:
    """What carbon makes of these sections of a file, one after the other."""
    settings = Settings()
    for section in sections:
        settings.readFrom(str(path), section)
    return {**settings, **CARBONS}


def read(tmp_path: Path, text: str, *sections: str) -> QuotaSettings | None:
    path = tmp_path / "carbon.conf"
    path.write_text(text)
    return read_settings(as_carbon_reads(path, *(sections or ("cache",))), "carbon.conf")


def problems(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text", ["[cache]\n", "[cache]\nQUOTAS_FILE =\n", "[cache]\nQUOTA_SCAN_FREQUENCY = nonsense\n", "[relay]\n"]
)
def test_without_a_quotas_file_there_are_no_quotas(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) is None


def test_only_the_quotas_file_must_be_given(tmp_path: Path) -> None:
    assert read(tmp_path, "[cache]\nQUOTAS_FILE = storage-quotas.conf\n") == DEFAULTS


def test_every_setting_is_read(tmp_path: Path) -> None:
    text = """\
[cache]
QUOTAS_FILE = /etc/quotas.conf
QUOTA_USAGE_REPORT_FREQUENCY = 2.5
QUOTA_SCAN_FREQUENCY = 0
QUOTA_THROUGHPUT_UNIT = minute
QUOTA_MAX_CREATES_PER_SECOND = 100
QUOTA_PHYSICAL_SIZE_FACTOR = 0.75
QUOTA_STATE_ENABLED = no
QUOTA_STATE_DIR = /var/lib/quotas
QUOTA_STATE_SNAPSHOT_FREQUENCY = 60
QUOTA_SERIES_TTL = 86400
QUOTA_CLUSTER_MODE = slices
QUOTA_CLUSTER_NAME = eu
QUOTA_CLUSTER_LISTEN = 10.0.0.1:2005
QUOTA_CLUSTER_PEERS = 10.0.0.1:2005, dns://nodes:2005
QUOTA_CLUSTER_SYNC_INTERVAL = 0.5
QUOTA_CLUSTER_KEY_FILE = /etc/key
QUOTA_CLUSTER_STORE = sentinel://a:1,b:2/quotas
QUOTA_CLUSTER_STORE_PASSWORD_FILE = /etc/password
QUOTA_CLUSTER_STORE_TIMEOUT = 2
QUOTA_CLUSTER_ON_OUTAGE = reject
"""
    assert read(tmp_path, text) == QuotaSettings(
        quotas_file="/etc/quotas.conf",
        physical_size_factor=0.75,
        runtime=RuntimeSettings(
            usage_report_frequency=2.5,
            scan_frequency=0.0,
            throughput_unit="minute",
            max_creates_per_second=100,
            state_enabled=False,
            state_dir="/var/lib/quotas/carbon-cache-a",
            state_snapshot_frequency=60.0,
            series_ttl=86400.0,
        ),
        cluster=ClusterSettings(
            mode="slices",
            name="eu",
            listen="10.0.0.1:2005",
            peers=(Peer("10.0.0.1", 2005), Peer("nodes", 2005, every_address=True)),
            sync_interval=0.5,
            key_file="/etc/key",
            store="sentinel://a:1,b:2/quotas",
            store_password_file="/etc/password",  # noqa: S106 - a path
            store_timeout=2.0,
            on_outage="reject",
        ),
    )


def test_an_instance_has_the_settings_of_its_section_but_for_its_own(tmp_path: Path) -> None:
    text = "[cache]\nQUOTAS_FILE = q.conf\nQUOTA_SCAN_FREQUENCY = 9\n[cache:b]\nQUOTA_SCAN_FREQUENCY = 0\n"
    settings = read(tmp_path, text, "cache", "cache:b")
    assert settings is not None
    assert (settings.quotas_file, settings.runtime.scan_frequency) == ("/opt/graphite/conf/q.conf", 0.0)


@pytest.mark.parametrize(("instance", "name"), [("b", "carbon-relay-b"), ("", "carbon-relay"), (None, "carbon-relay")])
def test_each_instance_keeps_its_state_by_itself(instance: str | None, name: str) -> None:
    values = {**CARBONS, "program": "carbon-relay", "instance": instance, "QUOTAS_FILE": "q", "QUOTA_STATE_DIR": "/s"}
    settings = read_settings(values, "carbon.conf")
    assert settings is not None
    assert settings.runtime.state_dir == f"/s/{name}"


def test_a_home_directory_is_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/graphite")
    settings = read(tmp_path, "[cache]\nQUOTAS_FILE = ~/quotas.conf\n")
    assert settings is not None
    assert settings.quotas_file == "/home/graphite/quotas.conf"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("QUOTA_USAGE_REPORT_FREQUENCY = 0", "a number of seconds, at least 1; write 300 for five minutes"),
        ("QUOTA_USAGE_REPORT_FREQUENCY = 1m", "a number of seconds, at least 1; write 300 for five minutes"),
        (
            "QUOTA_SCAN_FREQUENCY = -1",
            "a number of seconds, at least 0 (only at the start); write 300 for five minutes",
        ),
        ("QUOTA_SERIES_TTL = inf", "a number of seconds, at least 0 (never); write 300 for five minutes"),
        ("QUOTA_SERIES_TTL = nan", "a number of seconds, at least 0 (never); write 300 for five minutes"),
        ("QUOTA_STATE_SNAPSHOT_FREQUENCY = 0.5", "a number of seconds, at least 1; write 300 for five minutes"),
        ("QUOTA_THROUGHPUT_UNIT = hour", "interval or minute"),
        ("QUOTA_MAX_CREATES_PER_SECOND = 1.5", "a whole number, at least 0 (no limit)"),
        ("QUOTA_MAX_CREATES_PER_SECOND = -5", "a whole number, at least 0 (no limit)"),
        ("QUOTA_PHYSICAL_SIZE_FACTOR = 0", "a number above 0; write 1 for the full size, 0.5 for half of it"),
        ("QUOTA_PHYSICAL_SIZE_FACTOR = half", "a number above 0; write 1 for the full size, 0.5 for half of it"),
        ("QUOTA_STATE_ENABLED = maybe", "True or False"),
        ("QUOTA_CLUSTER_MODE = on", "off or sync or slices"),
        ("QUOTA_CLUSTER_ON_OUTAGE = wait", "share or accept or reject"),
        ("QUOTA_CLUSTER_LISTEN = nowhere", "host:port, such as 127.0.0.1:2005"),
        (
            "QUOTA_CLUSTER_PEERS = a",
            'host:port of each node, with commas between: "a" is no host:port, nor dns://name:port',
        ),
        ("QUOTA_CLUSTER_SYNC_INTERVAL = 0", "a number of seconds, at least 0.01"),
        (
            "QUOTA_CLUSTER_STORE = valkey://host:x",
            'the URL of a store, such as valkey://127.0.0.1:6379: "host:x" is no host:port',
        ),
        ("QUOTA_STATE_DIR = 7", "a path; write it with its directory, as in /etc/carbon/storage-quotas.conf"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_a_remedy(tmp_path: Path, line: str, message: str) -> None:
    assert problems(tmp_path, f"[cache]\nQUOTAS_FILE = q\n{line}\n") == f"carbon.conf: {line}: must be {message}"


def test_a_password_in_a_bad_url_is_not_told(tmp_path: Path) -> None:
    told = problems(tmp_path, "[cache]\nQUOTAS_FILE = q\nQUOTA_CLUSTER_STORE = valkey://u:hunter2@host:x\n")
    assert "hunter2" not in told
    assert "QUOTA_CLUSTER_STORE = valkey://u:***@host:x: must be the URL of a store" in told


def test_a_cluster_that_everybody_could_join_is_refused(tmp_path: Path) -> None:
    text = "[cache]\nQUOTAS_FILE = q\nQUOTA_CLUSTER_MODE = sync\nQUOTA_CLUSTER_LISTEN = :2005\n"
    assert problems(tmp_path, text).startswith("carbon.conf: QUOTA_CLUSTER_LISTEN = :2005: whoever reaches it")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = "[cache]\nQUOTAS_FILE = 5\nQUOTA_SCAN_FREQENCY = 1\nQUOTA_SERIES_TTL = -1\n"
    path = "a path; write it with its directory, as in /etc/carbon/storage-quotas.conf"
    seconds = "a number of seconds, at least 0 (never); write 300 for five minutes"
    assert problems(tmp_path, text).splitlines() == [
        'carbon.conf: unknown setting QUOTA_SCAN_FREQENCY: did you mean "QUOTA_SCAN_FREQUENCY"?',
        f"carbon.conf: QUOTAS_FILE = 5: must be {path}",
        f"carbon.conf: QUOTA_SERIES_TTL = -1: must be {seconds}",
    ]


def test_a_misspelled_quotas_file_is_not_taken_for_none(tmp_path: Path) -> None:
    expected = 'carbon.conf: unknown setting QUOTA_FILE: did you mean "QUOTAS_FILE"?'
    assert problems(tmp_path, "[cache]\nQUOTA_FILE = q.conf\n") == expected


@pytest.mark.parametrize("unit", get_args(ThroughputUnit))
def test_every_unit_of_the_engine_can_be_set(unit: str) -> None:
    settings = read_settings({**CARBONS, "QUOTAS_FILE": "q", "QUOTA_THROUGHPUT_UNIT": unit}, "carbon.conf")
    assert settings is not None
    assert settings.runtime.throughput_unit == unit


@pytest.mark.parametrize("section", SECTIONS)
def test_the_example_can_be_read_for_every_daemon(section: str) -> None:
    settings = read_settings(as_carbon_reads(EXAMPLE, section), str(EXAMPLE))
    assert settings is not None
    assert settings.quotas_file == DEFAULTS.quotas_file


def test_the_example_shows_every_setting_and_its_default(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    shown = re.sub(r"^# (QUOTA\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert sorted(re.findall(r"^(QUOTA\w+) =", shown.partition("[relay]")[0], re.MULTILINE)) == sorted(SETTINGS)
    assert read(tmp_path, shown) == read(tmp_path, text) == DEFAULTS


def test_to_read_settings_starts_no_threads_and_chooses_no_reactor() -> None:
    program = (
        "import sys, carbonquota.plugins.carbon_scripts, carbonquota.plugins.settings\n"
        "print(sorted({'numpy', 'twisted.internet.reactor'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_rules_may_come_from_the_quota_service_as_the_daemons_do(tmp_path: Path) -> None:
    path = tmp_path / "carbon.conf"
    path.write_text(
        "[cache]\nQUOTAS_FILE = q.conf\nQUOTA_HUB_URL = https://quota.example.com:8090\nQUOTA_HUB_GROUP = 7\n"
        "QUOTA_HUB_TOKEN_FILE = hub-token\nQUOTA_HUB_WAIT = 5\n"
    )
    settings = read_settings(as_carbon_reads(path, "cache"), "carbon.conf")
    assert settings is not None
    assert settings.hub == FleetSettings(
        "https://quota.example.com:8090",
        token_file="/opt/graphite/conf/hub-token",  # noqa: S106 - a path
        group="7",
        wait=5.0,
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"QUOTA_HUB_URL": "quota"}, "QUOTA_HUB_URL = quota: must be the URL of a quota service: "),
        ({"QUOTA_HUB_TOKEN": "cq_a b"}, "QUOTA_HUB_TOKEN = ***: must be a token as it was shown: "),
        ({"QUOTA_HUB_GROUP": "a"}, "QUOTA_HUB_GROUP is set, but QUOTA_HUB_URL is not: set it, too"),
        ({"QUOTA_HUB_URL": "http://h:1", "QUOTA_HUB_TOKEN": "a", "QUOTA_HUB_TOKEN_FILE": "b"},
         "QUOTA_HUB_TOKEN_FILE is set, and so is QUOTA_HUB_TOKEN: keep one of the two"),
        ({"QUOTA_HUB_URL": "http://h:1", "QUOTAS_FILE": ""},
         "QUOTA_HUB_URL is set, but QUOTAS_FILE is not: its rules hold until a release comes"),
        ({"QUOTA_HUB_WAIT": 0}, "QUOTA_HUB_WAIT = 0: must be a number of seconds, from 1 to 86400"),
    ],
    ids=["url", "token", "group", "both", "file", "wait"],
)  # fmt: skip
def test_what_is_wrong_about_the_quota_service_is_told(given: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_settings({**CARBONS, "QUOTAS_FILE": "q.conf", **given}, "carbon.conf")
    assert told in str(error.value)
