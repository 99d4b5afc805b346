"""`carbonquota.conf`: what is read from it, what is ignored, and how it is told apart from rules."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from carbonquota.daemon.configuration import (
    KEYS,
    Configuration,
    is_configuration,
    load_settings,
    read_configuration,
)
from carbonquota.daemon.settings import Common, Settings
from carbonquota.service.runtime_settings import RuntimeSettings
from carbonquota.service.values.address import Address

ROOT = Path(__file__).parents[3]


def read(text: str) -> Configuration:
    return read_configuration(text, "/etc/c/c.conf", hostname="web1.example.com")


def settings_of(text: str) -> Settings:
    configuration = read(text)
    assert [str(problem) for problem in configuration.problems] == []
    return configuration.settings


def remarks(text: str) -> list[str]:
    """The notes but those that every short text gets."""
    lines = [line.replace("/etc/c/", "") for line in read(text).diagnostics.lines()]
    return [line for line in lines if "-file is not set" not in line]


def test_an_empty_file_means_the_defaults() -> None:
    expected = Settings("/etc/c/c.conf", common=Common("carbon.agents.web1_example_com"))
    assert settings_of("") == expected


@pytest.mark.parametrize(
    ("section", "line", "field", "value"),
    [
        ("common", 'graph-prefix = "own.{host}.carbon."', "graph_prefix", "own.web1_example_com.carbon"),
        ("whisper", 'data-dir = "/data"', "data_dir", "/data"),
        ("whisper", 'data-dir = "data"', "data_dir", "/etc/c/data"),
        ("whisper", 'quotas-file = "../q.conf"', "quotas_file", "/etc/q.conf"),
        ("whisper", 'quotas-file = ""', "quotas_file", ""),
        ("whisper", "physical-size-factor = 1", "physical_size_factor", 1.0),
        ("whisper", "max-updates-per-second = 1_000", "max_updates_per_second", 1000),
        ("cache", "max-size = 5", "max_size", 5),
        ("tcp", 'listen = ":2003"', "listen", Address("", 2003)),
        ("tcp", 'listen = "127.0.0.1:0"', "listen", Address("127.0.0.1", 0)),
        ("udp", 'listen = "[::1]:2003"', "listen", Address("::1", 2003)),
        ("pickle", 'listen = "localhost:9999"', "listen", Address("localhost", 9999)),
        ("pickle", 'max-message-size = "64MiB"', "max_message_size", 67_108_864),
        ("pickle", "enabled = false", "enabled", False),
        ("carbonserver", 'scan-frequency = "1h30m"', "scan_frequency", 5400.0),
        ("carbonserver", 'scan-frequency = "0s"', "scan_frequency", 0.0),
        ("carbonserver", 'quota-usage-report-frequency = "1m0s"', "quota_usage_report_frequency", 60.0),
        ("carbonserver", "quota-usage-report-frequency = 2.5", "quota_usage_report_frequency", 2.5),
        ("carbonserver", 'throughput-unit = "minute"', "throughput_unit", "minute"),
        ("relay", 'timeout = "300ms"', "timeout", 0.3),
        ("relay", 'timeout = ".5s"', "timeout", 0.5),
        ("relay", 'queue-max-size = "64MB"', "queue_max_size", 64_000_000),
        ("relay", 'queue-max-size = "1.5 KiB"', "queue_max_size", 1536),
        ("relay", "spool-max-size = 0", "spool_max_size", 0),
        ("relay", 'spool-dir = "spool"', "spool_dir", "/etc/c/spool"),
        ("state", 'series-ttl = "720h"', "series_ttl", 2_592_000.0),
        ("statsd", 'address = "stats.example.com:8125"', "address", Address("stats.example.com", 8125)),
        ("statsd", 'prefix = "a.b."', "prefix", "a.b"),
    ],
)
def test_a_value_is_read(section: str, line: str, field: str, value: object) -> None:
    assert getattr(settings_of(f"[{section}]\n{line}\n").section(section), field) == value


@pytest.mark.parametrize(
    "text",
    [
        '[tcp]\nlisten = ":1"\n',
        'tcp = { listen = ":1" }\n',
        'tcp.listen = ":1"\n',
        '["tcp"]\n"listen" = \':1\'\n',
        '\ufeff[ tcp ] # here\r\nlisten = ":1" # and here\r\n',
    ],
)
def test_all_that_toml_allows_is_read(text: str) -> None:
    assert settings_of(text).inputs["tcp"].listen == Address("", 1)


@pytest.mark.parametrize(
    ("text", "whisper", "relay"),
    [
        ("", True, False),
        ('[relay]\nenabled = true\ndestination = "carbon:2003"\n', False, True),
        ('[whisper]\nenabled = false\n[relay]\nenabled = true\ndestination = "carbon:2003"\n', False, True),
    ],
)
def test_the_relay_takes_the_place_of_whisper(text: str, whisper: bool, relay: bool) -> None:
    settings = settings_of(text)
    assert (settings.whisper.enabled, settings.relay.enabled) == (whisper, relay)


@pytest.mark.parametrize(
    "text",
    [
        '[tcp]\nlisten = ":1"\n[pickle]\nlisten = ":2"\n',
        '[tcp]\nlisten = "127.0.0.1:0"\n[pickle]\nlisten = "127.0.0.1:0"\n',
        '[tcp]\nlisten = "127.0.0.1:9"\n[pickle]\nlisten = "127.0.0.2:9"\n',
        '[pickle]\nlisten = ":2003"\nenabled = false\n',
        '[udp]\nlisten = ":2004"\n',
        '[relay]\nenabled = true\ndestination = "127.0.0.1:2003"\n[tcp]\nlisten = "127.0.0.2:2003"\n',
        '[relay]\ndestination = "localhost:2003"\n',
    ],
)
def test_addresses_that_do_not_collide_are_taken(text: str) -> None:
    settings_of(text)


def test_paths_are_from_the_files_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.conf").write_text('[whisper]\ndata-dir = "data"\n')
    monkeypatch.chdir(tmp_path)
    assert load_settings("sub/c.conf")[0].whisper.data_dir == str(tmp_path / "sub" / "data")


def test_what_only_go_carbon_knows_is_named_once() -> None:
    text = """
[common]
metric-interval = "1m0s"
metric-endpoint = "local"
[whisper]
workers = 8
[carbonserver]
stats-percentiles = [99, 95] # [tcp]
[[carbonserver.api-per-path-rate-limiters]]
path = "/render/"
[carbonserver.grpc]
listen = ":7004"
[pprof]
enabled = false
[[logging]]
level = "info"
[[logging]]
level = "error"
"""
    assert remarks(text) == [
        "c.conf: sections of go-carbon's own, without meaning here: [pprof], [logging]",
        (
            "c.conf: keys of go-carbon's own, without meaning here: common.metric-interval, common.metric-endpoint, "
            "whisper.workers, carbonserver.stats-percentiles, carbonserver.api-per-path-rate-limiters, "
            "carbonserver.grpc"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("[whisper]\ncompressed = true", "2: whisper.compressed = true: new files are plain Whisper, not compressed"),
        ("[whisper]\ncompressed = false", None),
        ('[common]\nuser = "carbon"', '2: common.user = "carbon": whoever starts the program is whom it runs as'),
        ('[receiver.two]\nprotocol = "tcp"', "1: receiver: only [tcp], [udp] and [pickle] receive"),
        (
            '[tcp]\ncompression = "gzip"',
            '2: tcp.compression = "gzip": compressed input is not understood: send plain text',
        ),
        ('[tcp]\ncompression = ""', None),
        (
            "[whisper]\nhard-max-creates-per-second = true",
            (
                "2: whisper.hard-max-creates-per-second = true: new files above max-creates-per-second wait, and none "
                "is refused; max-creates-per-second in [carbonserver] refuses new metrics"
            ),
        ),
        ("[whisper]\nhard-max-creates-per-second = false", None),
        ("[tags]\nenabled = false", None),
    ],
)
def test_what_may_surprise_is_said(text: str, remark: str | None) -> None:
    assert remarks(text)[1:] == ([f"c.conf:{remark}"] if remark else [])


def test_a_carbonserver_says_that_nothing_can_be_read_from_it() -> None:
    assert remarks("[carbonserver]\nenabled = true") == [
        (
            "c.conf:2: carbonserver.enabled = true: there is no render and no find here, so carbonapi and "
            "graphite-web's cluster find nothing at this address: let them read data-dir through graphite-web, or a "
            "go-carbon with its receivers and [whisper] off; with a relay, from its destination"
        )
    ]
    assert remarks("[carbonserver]\nenabled = false") == []


def test_a_cache_without_bound_has_one_all_the_same() -> None:
    assert settings_of("[cache]\nmax-size = 0\n").cache.max_size == 1_000_000
    assert remarks("[cache]\nmax-size = 0") == [
        (
            "c.conf:2: cache.max-size = 0: go-carbon's word for no bound; here there is one, 1,000,000 data points: "
            "when the cache is full, senders wait"
        )
    ]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "[whisper]\nsparse_create = true",
            '2:1: unknown key "sparse_create" in [whisper]|did you mean "sparse-create"?',
        ),
        ("[whisper]\nwrokers = 8", '2:1: unknown key "wrokers" in [whisper]|did you mean "workers"?'),
        ('[tcp]\nread-timeout = "30s"', '2:1: unknown key "read-timeout" in [tcp]|keys are: listen, enabled'),
        ("[wisper]", "1:2: unknown section [wisper]|did you mean [whisper]?"),
        ("[mine]", f"1:2: unknown section [mine]|sections are: {', '.join(KEYS)}"),
        ('listen = ":1"', '1:1: "listen" stands outside of any section|put a section such as [tcp] above it'),
        ("max-size = 1", '1:1: "max-size" stands outside of any section|it belongs to [cache]'),
    ],
)
def test_what_go_carbon_passes_over_is_a_warning(text: str, warning: str) -> None:
    (found,) = read(text).diagnostics.warnings
    assert f"{found.line}:{found.column}: {found.message}|{found.suggestion}" == warning
    assert not read(text).problems


EVERY_KEY_OF_GO_CARBON = """
[carbon]
logfile = ""
graph-prefix = "carbon.agents.{host}."
[common]
user = "carbon"
logfile = ""
log-level = "info"
graph-prefix = "carbon.agents.{host}"
metric-endpoint = "local"
metric-interval = "1m0s"
max-cpu = 4
[whisper]
data-dir = "/var/lib/graphite/whisper"
schemas-file = ""
aggregation-file = ""
quotas-file = ""
workers = 8
max-updates-per-second = 0
max-creates-per-second = 0
hard-max-creates-per-second = false
sparse-create = false
physical-size-factor = 0.75
flock = true
compressed = false
enabled = true
hash-filenames = true
remove-empty-file = false
online-migration = false
online-migration-rate = 5
online-migration-global-scope = ""
[cache]
max-size = 0
write-strategy = "max"
input-buffer = 51200
bloom-size = 0
[udp]
listen = ":2003"
enabled = true
log-incomplete = false
buffer-size = 0
[tcp]
listen = ":2003"
enabled = true
buffer-size = 0
compression = ""
[pickle]
listen = ":2004"
max-message-size = 67108864
enabled = true
buffer-size = 0
[receiver.kafka]
protocol = "kafka"
[carbonlink]
listen = "127.0.0.1:7002"
enabled = true
read-timeout = "30s"
query-timeout = "100ms"
[grpc]
listen = "127.0.0.1:7003"
enabled = true
[tags]
enabled = false
tagdb-update-interval = 100
[carbonserver]
listen = "127.0.0.1:8080"
enabled = false
buckets = 10
metrics-as-counters = false
read-timeout = "60s"
write-timeout = "60s"
idle-timeout = "60s"
query-timeout = "60s"
query-cache-enabled = true
query-cache-size-mb = 0
find-cache-enabled = true
max-globs = 100
max-files-globbed = 100
graphtie-web-10-strict-mode = true
graphite-web-10-strict-mode = true
trigram-index = true
trie-index = false
trie-index-with-trigrams = false
cache-scan = false
internal-stats-dir = ""
scan-frequency = "5m0s"
stats-percentiles = [99, 98, 95, 75, 50]
max-creates-per-second = 0
quota-usage-report-frequency = "1m0s"
[[carbonserver.api-per-path-rate-limiters]]
path = "/metrics/list/"
max-inflight-requests = 1
[carbonserver.grpc]
listen = "127.0.0.1:7004"
[dump]
enabled = false
recover-per-second = 0
restore-per-second = 0
[pprof]
listen = "localhost:7007"
[prometheus]
enabled = true
[tracing]
enabled = false
jaegerEndpoint = ""
[[logging]]
logger = ""
sample-tick = ""
"""


def test_a_file_with_keys_of_all_releases_of_go_carbon_starts_us() -> None:
    configuration = read(EVERY_KEY_OF_GO_CARBON)
    assert (configuration.problems, configuration.diagnostics.warnings) == ((), ())


def test_a_daemon_that_follows_a_quota_service_says_what_holds_until_it_has_rules() -> None:
    assert next(iter(read('[hub]\nurl = "http://127.0.0.1:8090"\n').diagnostics.lines())) == (
        "/etc/c/c.conf: whisper.quotas-file is not set: everything passes until the quota service has a release"
    )


def test_a_daemon_without_files_of_rules_says_so() -> None:
    assert list(read("").diagnostics.lines()) == [
        "/etc/c/c.conf: whisper.quotas-file is not set: there are no quotas, and everything passes",
        "/etc/c/c.conf: whisper.schemas-file is not set: every metric keeps 172,800 points, one a second",
    ]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ('[tcp]\nlisten = ":1"\n', True),
        ("[tcp]\nlisten = :1\n", True),
        ('[tcp\nenabled = true\n[udp]\nlisten = ":1"', True),
        ('tcp.listen = ":1"\n', True),
        ('[[logging]]\nlevel = "info"\n', True),
        ('[tcp]\nlissten = ":1"\n', True),
        ('[relay.x]\ny = "1"\n[grpc]\nz = 1\n', True),
        ('[other]\na = "b"\n[tcp]\nenabled = true\n', True),
        ("[cache]\nmetrics = 5\n", False),
        ('[cache]\nmetrics = 5\nmax-size = 5\n[tcp]\nlisten = ":1"\n', False),
        ("[cache]\nmetricz = 5\n", False),
        ("[relay]\nthroughput = max\n", False),
        ('[cache]\nstat-metric-prefix = "a."\n', False),
        ("[cache]\n", False),
        ("[a.*]\nfoo = 1\n", False),
        ("", False),
    ],
)
def test_a_configuration_is_told_apart_from_rules(text: str, is_one: bool) -> None:
    assert is_configuration(text) is is_one


def documented() -> dict[tuple[str, str], str]:
    """Default by section and key, as the page's tables have them."""
    found: dict[tuple[str, str], str] = {}
    section = ""
    for line in (ROOT / "docs" / "configuration.md").read_text().splitlines():
        header = re.fullmatch(r"### \[(\w+)\]", line)
        row = re.match(r"\| `([a-z-]+)` \| `([^`]*)` \|", line)
        section = header[1] if header else section
        if row:
            found[section, row[1]] = row[2]
    return found


def test_the_documentation_has_every_key_with_its_default() -> None:
    defaults = replace(Settings(), common=Common("carbon.agents.{host}"))
    expected = {
        (section, key): kind.write(getattr(defaults.section(section), key.replace("-", "_")))
        for section, kinds in KEYS.items()
        for key, kind in kinds.items()
    }
    assert documented() == expected


def test_a_runtime_is_told_what_the_file_says_and_else_what_holds_for_every_host() -> None:
    assert settings_of("").runtime == RuntimeSettings(state_dir="/var/lib/carbonquota")
    text = """
[carbonserver]
scan-frequency = "1h"
quota-usage-report-frequency = "10s"
max-creates-per-second = 7
throughput-unit = "minute"
[state]
enabled = false
directory = "/state"
snapshot-frequency = "2m"
series-ttl = "24h"
"""
    assert settings_of(text).runtime == RuntimeSettings(10.0, "minute", 7, 3600.0, False, "/state", 120.0, 86_400.0)
