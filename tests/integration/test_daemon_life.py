"""The daemon's life as an operator sees it: how it starts or refuses to, what it goes through, and how it ends."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running, wait_until

NOW = int(time.time()) // 60 * 60


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`carbonquota run` as a process that ends by itself."""
    command = [sys.executable, "-m", "carbonquota.cli", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def refusal(configuration: Path) -> str:
    """What a start that must be refused says last: neither log lines nor a traceback."""
    done = run("--config", str(configuration))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr[done.stderr.index("carbonquota: ") :]


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("tcp", socket.SOCK_STREAM),
        ("udp", socket.SOCK_DGRAM),
        ("pickle", socket.SOCK_STREAM),
        ("carbonserver", socket.SOCK_STREAM),
    ],
)
def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path, section: str, kind: socket.SocketKind) -> None:
    daemon = Daemon(tmp_path / "daemon")
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        text = daemon.configuration.read_text()
        free = f'[{section}]\nlisten = "127.0.0.1:0"'
        assert free in text
        daemon.configuration.write_text(text.replace(free, free.replace(":0", f":{port}")))
        assert refusal(daemon.configuration) == (
            f"carbonquota: [{section}] listen: cannot listen at 127.0.0.1:{port}: another program has the port: "
            "end it (`ss -lnp` names it), or choose another port\n"
        )


def test_all_problems_of_the_rules_are_told_at_the_start(tmp_path: Path) -> None:
    daemon = Daemon(
        tmp_path / "daemon", rules="[a]\nmetricz = 1\n[b\nmetrics = -1\n", schemas="[x]\nretentions = 1s:1h\n"
    )
    told = refusal(daemon.configuration)
    for place, problem in (
        (f"{daemon.rules}:2:1", 'unknown key "metricz"'),
        (f"{daemon.rules}:3:1", "["),
        (f"{daemon.rules}:4:11", "-1"),
        (f"{daemon.folder}/schemas.conf:1", "pattern"),
    ):
        assert place in told
        assert problem in told


@pytest.mark.parametrize("key", ["quotas-file", "schemas-file"])
def test_a_rules_file_that_is_missing_is_told_at_the_start(tmp_path: Path, key: str) -> None:
    daemon = Daemon(tmp_path / "daemon")
    path = daemon.folder / f"{key.partition('-')[0]}.conf"
    path.unlink()
    assert str(path) in refusal(daemon.configuration)


def test_a_directory_that_cannot_be_is_told_at_the_start(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon")
    (daemon.folder / "whisper").write_text("in the way")
    assert "data-dir in [whisper]" in refusal(daemon.configuration)


GO_CARBON = """\
# The style of a go-carbon installation, all its sections included.
[common]
user = "carbon"
graph-prefix = "carbon.agents.{{host}}"
metric-endpoint = "local"
metric-interval = "1m0s"
max-cpu = 2

[whisper]
data-dir = "{folder}/whisper"
schemas-file = "{folder}/schemas.conf"
quotas-file = "{folder}/quotas.conf"
workers = 2
max-updates-per-second = 0
sparse-create = true
flock = true
enabled = true
hash-filenames = true
remove-empty-file = false

[cache]
max-size = 100000
write-strategy = "max"

[udp]
listen = "127.0.0.1:0"
enabled = true
buffer-size = 0

[tcp]
listen = "127.0.0.1:0"
enabled = true
buffer-size = 0
compression = ""

[pickle]
listen = "127.0.0.1:0"
max-message-size = 67108864
enabled = true

[carbonlink]
listen = "127.0.0.1:7002"
enabled = true
read-timeout = "30s"

[grpc]
listen = "127.0.0.1:7003"
enabled = true

[tags]
enabled = false
tagdb-url = "http://127.0.0.1:8000"
local-dir = "/var/lib/graphite/tagging/"

[carbonserver]
listen = "127.0.0.1:0"
enabled = true
buckets = 10
metrics-as-counters = false
read-timeout = "60s"
write-timeout = "60s"
query-cache-enabled = true
query-cache-size-mb = 0
find-cache-enabled = true
trigram-index = true
scan-frequency = "5m0s"
trie-index = false
max-globs = 100
quota-usage-report-frequency = "1m"
max-creates-per-second = 0

[dump]
enabled = false
path = "/var/lib/graphite/dump/"

[pprof]
listen = "127.0.0.1:7007"
enabled = false

[prometheus]
enabled = true
endpoint = "/metrics"

[tracing]
enabled = false

[[logging]]
logger = ""
file = "stdout"
level = "info"
encoding = "mixed"

[[logging]]
logger = "access"
file = "none"
"""


def test_a_configuration_in_the_style_of_go_carbon_starts_it(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon")
    state = f'[state]\ndirectory = "{daemon.folder}/state"\n'
    daemon.configuration.write_text(GO_CARBON.format(folder=daemon.folder) + state)
    try:
        daemon.start()
        daemon.send(f"a.b 1.5 {NOW}\n")
        wait_until(lambda: daemon.value("a.b", NOW) == 1.5, lambda: daemon.log)
        assert daemon.stop() == 0, daemon.log
    finally:
        daemon.kill()
    ignored = "[carbonlink], [grpc], [tags], [dump], [pprof], [prometheus], [tracing], [logging]"
    (line,) = [line for line in daemon.log.splitlines() if "[carbonlink]" in line]
    assert line.endswith(f"{daemon.configuration}: sections of go-carbon's own, without meaning here: {ignored}")


def test_what_print_config_prints_means_the_same_again(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon", interval=17, more="[cache]\nmax-size = 12345")
    first = run("--print-config", "--config", str(daemon.configuration))
    assert (first.returncode, first.stderr) == (0, "")
    assert "max-size = 12345" in first.stdout.replace("_", "")
    again = tmp_path / "again.conf"
    again.write_text(first.stdout)
    second = run("--print-config", "--config", str(again))
    assert second.stdout == first.stdout


def test_what_was_sent_just_before_sigterm_is_stored_and_known_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "daemon"
    with running(folder, rules="[load]\nmetrics = 1000\n") as daemon:
        daemon.send("".join(f"load.m{number} {number} {NOW}\n" for number in range(1000)))
        assert daemon.stop() == 0, daemon.log
        assert len(daemon.stored()) == 1000
        assert all(daemon.value(f"load.m{number}", NOW) == number for number in range(0, 1000, 97))
        daemon.start()
        assert daemon.json("/api/namespaces/load")["usage"]["metrics"] == 1000
        daemon.send(f"load.other 1 {NOW}\nload.m1 5 {NOW}\n")
        counts = daemon.settled(lambda counts: counts.received == 2)
        assert (counts.accepted, counts.dropped) == (1, 1)


def test_no_sender_keeps_it_from_ending(tmp_path: Path) -> None:
    with running(tmp_path / "daemon") as daemon, daemon.connect() as held:
        held.sendall(f"whole 1 {NOW}\nhalf a li".encode())
        daemon.settled(lambda counts: counts.accepted == 1)
        assert daemon.stop() == 0, daemon.log
        assert daemon.stored() == {"whole"}


def test_sigterm_while_it_starts_ends_it_in_order(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon")
    try:
        daemon.start(ready=False)
        daemon.address("HTTP")
        assert daemon.stop() == 0, daemon.log
        assert "Traceback" not in daemon.log
    finally:
        daemon.kill()


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    # Nothing listens at the destination's port, and without a spool the points are worth waiting for.
    with running(tmp_path / "daemon", destination=1, relay="") as daemon:
        daemon.send(f"a 1 {NOW}\n")
        daemon.settled(lambda counts: counts.waiting == 1)
        assert daemon.process is not None
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: "SIGTERM: ending" in daemon.log, lambda: daemon.log)
        assert daemon.process.poll() is None
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(5) == 128 + signal.SIGTERM
        assert "SIGTERM again: ending at once" in daemon.log


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as a thousand connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("no process may open a thousand connections here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connections_each_have_their_line_stored(tmp_path: Path, many_files: None) -> None:
    with running(tmp_path / "daemon") as daemon, ExitStack() as held:
        connections = [held.enter_context(daemon.connect()) for _ in range(1000)]
        for number, connection in enumerate(connections):
            connection.sendall(f"many.m{number} 1".encode())
        for connection in connections:
            connection.sendall(f" {NOW}\n".encode())
        counts = daemon.settled(lambda counts: counts.received == 1000 and not counts.waiting)
        assert (counts.accepted, counts.gone) == (1000, 1000)
        assert daemon.health()['carbonquota_connections{receiver="tcp"}'] == 1000
        assert len(daemon.stored()) == 1000


def test_a_cache_that_is_full_makes_senders_wait_and_loses_nothing(tmp_path: Path) -> None:
    amount = 12_000
    # Names this long fill the buffers of a connection with few lines.
    names = [f"slow.{number}.{'x' * 200}" for number in range(10)]
    lines = "".join(f"{names[number % 10]} {number} {NOW - number % 50 * 60}\n" for number in range(amount))
    # All points have room, however long the tests before this one took.
    schemas = "[all]\npattern = .*\nretentions = 60s:1d\n"
    daemon = Daemon(tmp_path / "daemon", schemas=schemas, more="[cache]\nmax-size = 1000")
    text = daemon.configuration.read_text()
    daemon.configuration.write_text(text.replace("[whisper]\n", "[whisper]\nmax-updates-per-second = 30\n"))
    sender = threading.Thread(target=lambda: daemon.send(lines, buffer=16_384))
    try:
        daemon.start()
        sender.start()
        wait_until(lambda: daemon.count("paused") == 1, lambda: daemon.log)
        sender.join(0.2)
        assert sender.is_alive()
        assert daemon.settled(lambda counts: counts.waiting).received < amount
        sender.join(30)
        counts = daemon.settled(lambda counts: counts.received == amount and not counts.waiting)
        assert (counts.gone - counts.own, counts.lost, daemon.count("paused")) == (amount, 0, 0)
    finally:
        daemon.kill()


def test_a_place_that_cannot_be_written_keeps_its_points_until_it_can(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", more="[cache]\nmax-size = 2000") as daemon:
        in_the_way = daemon.folder / "whisper/team"
        in_the_way.write_text("in the way")
        lines = [f"team.m{number} {number} {NOW}\nother.m{number} {number} {NOW}\n" for number in range(100)]
        daemon.send("".join(lines))
        counts = daemon.settled(lambda counts: counts.gone >= 100)
        assert counts.waiting == 100
        wait_until(lambda: daemon.json("/health")["status"] == "degraded", lambda: daemon.log)
        assert "cannot write" in daemon.log
        assert "move away what stands where a directory or file of this name is needed" in daemon.log
        in_the_way.unlink()
        counts = daemon.settled(lambda counts: counts.gone >= 200)
        assert (counts.lost, counts.waiting) == (0, 0)
        assert [daemon.value(f"team.m{number}", NOW) for number in range(100)] == list(range(100))
        wait_until(lambda: daemon.json("/health")["status"] == "ok", lambda: daemon.log)


def test_a_disk_without_room_keeps_its_points_until_there_is_some(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", schemas="[all]\npattern = .*\nretentions = 1s:1d\n") as daemon:
        assert daemon.process is not None
        infinite = resource.RLIM_INFINITY
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (500_000, infinite))
        daemon.send("".join(f"big.m{number} {number} {NOW}\n" for number in range(20)))
        wait_until(lambda: daemon.count("sink_errors_total") > 0, lambda: daemon.log)
        assert daemon.settled(lambda counts: counts.accepted == 20).waiting == 20
        assert daemon.stored() == set()
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (infinite, infinite))
        assert daemon.settled(lambda counts: counts.gone == 20).lost == 0
        assert [daemon.value(f"big.m{number}", NOW) for number in range(20)] == list(range(20))


def test_what_a_stop_cannot_write_is_stored_after_the_next_start(tmp_path: Path) -> None:
    with running(tmp_path / "daemon") as daemon:
        in_the_way = daemon.folder / "whisper/team"
        in_the_way.write_text("in the way")
        daemon.send(f"team.a 1.5 {NOW}\nother.a 2.5 {NOW}\n")
        daemon.settled(lambda counts: counts.gone == 1)
        assert daemon.stop() == 0, daemon.log
        in_the_way.unlink()
        daemon.start()
        wait_until(lambda: daemon.value("team.a", NOW) == 1.5, lambda: daemon.log)
        assert daemon.value("other.a", NOW) == 2.5
        assert daemon.json("/api/namespaces/team")["usage"]["metrics"] == 1


def test_a_metric_that_is_not_seen_for_its_time_to_live_stops_counting(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules="[a]\nmetrics = 2\n", destination=1, state='series-ttl = "2s"') as daemon:
        daemon.send(f"a.gone 1 {NOW}\na.kept 1 {NOW}\na.late 1 {NOW}\n")
        assert daemon.settled(lambda counts: counts.received == 3).dropped == 1

        def is_gone() -> bool:
            daemon.send(f"a.kept 1 {NOW}\n")
            return bool(daemon.json("/api/namespaces/a")["usage"]["metrics"] == 1)

        wait_until(is_gone, lambda: daemon.log)
        assert daemon.count("expired_total") == 1
        (kept,) = daemon.json("/api/explain?metric=a.kept")["metrics"]
        assert kept["known"]
        dropped = daemon.counts().dropped
        daemon.send(f"a.late 1 {NOW}\n")
        wait_until(lambda: daemon.json("/api/namespaces/a")["usage"]["metrics"] == 2, lambda: daemon.log)
        assert daemon.counts().dropped == dropped
