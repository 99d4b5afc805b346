"""What the daemon can be told: the settings of `carbonquota.conf` as values, with their defaults.

A field's name is its key in the file with `_` for `-`; times are in seconds, sizes in bytes unless said
otherwise. How the file is read stands in `carbonquota.daemon.configuration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from carbonquota.client.fleet import FleetSettings
from carbonquota.cluster.settings import ClusterSettings
from carbonquota.daemon.inputs import InputSettings, default_inputs
from carbonquota.model import ThroughputUnit
from carbonquota.service.runtime_settings import DEFAULTS, RuntimeSettings
from carbonquota.service.values.address import Address
from carbonquota.web.access_settings import AccessSettings


@dataclass(frozen=True, slots=True)
class Common:
    """`[common]`; `graph_prefix` has `{host}` filled in already."""

    graph_prefix: str = "carbon.agents.localhost"


@dataclass(frozen=True, slots=True)
class Whisper:
    """`[whisper]`: files of rules, and the embedded store.

    `max_updates_per_second` and `max_creates_per_second` pace writes and new files; 0 is no limit.
    """

    enabled: bool = True
    data_dir: str = "/var/lib/graphite/whisper"
    schemas_file: str = ""
    aggregation_file: str = ""
    quotas_file: str = ""
    sparse_create: bool = False
    physical_size_factor: float = 1.0
    max_updates_per_second: int = 0
    max_creates_per_second: int = 0


@dataclass(frozen=True, slots=True)
class Cache:
    """`[cache]`: `max_size` is how many data points may wait to be written to Whisper files."""

    max_size: int = 1_000_000


@dataclass(frozen=True, slots=True)
class CarbonServer:
    """`[carbonserver]`: the HTTP side, reports and scans.

    `scan_frequency` 0 is never; `max_creates_per_second` bounds new metrics, 0 is no limit. `allowed_hosts` are names
    that the HTTP side answers to beside its own, and `prometheus_max_namespaces` bounds `/metrics`, 0 is no limit.
    """

    listen: Address = field(default=Address("127.0.0.1", 8080))
    enabled: bool = True
    scan_frequency: float = DEFAULTS.scan_frequency
    quota_usage_report_frequency: float = DEFAULTS.usage_report_frequency
    max_creates_per_second: int = DEFAULTS.max_creates_per_second
    throughput_unit: ThroughputUnit = DEFAULTS.throughput_unit
    allowed_hosts: tuple[str, ...] = ()
    prometheus_max_namespaces: int = 10_000


@dataclass(frozen=True, slots=True)
class Relay:
    """`[relay]`: pass accepted points on to `destination`.

    `queue_max_size` bounds memory, `spool_max_size` the disk (0: no spool). A destination that takes nothing for
    `timeout` is away. What was sent in the last `resend_window` before a connection was reset is sent again, as TCP
    does not tell what was read.
    """

    enabled: bool = False
    destination: Address = field(default=Address("127.0.0.1", 2003))
    queue_max_size: int = 67_108_864
    spool_dir: str = ""
    spool_max_size: int = 1_073_741_824
    timeout: float = 30.0
    resend_window: float = 5.0


@dataclass(frozen=True, slots=True)
class State:
    """`[state]`: what survives a restart. `series_ttl` 0 is never."""

    enabled: bool = DEFAULTS.state_enabled
    directory: str = "/var/lib/carbonquota"
    snapshot_frequency: float = DEFAULTS.state_snapshot_frequency
    series_ttl: float = DEFAULTS.series_ttl


@dataclass(frozen=True, slots=True)
class StatsD:
    """`[statsd]`: reports over UDP to a StatsD."""

    enabled: bool = False
    address: Address = field(default=Address("127.0.0.1", 8125))
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it; `source` is the file it came from, and `inputs` has the settings of each input by its section."""

    source: str = ""
    common: Common = field(default_factory=Common)
    whisper: Whisper = field(default_factory=Whisper)
    cache: Cache = field(default_factory=Cache)
    inputs: Mapping[str, InputSettings] = field(default_factory=default_inputs)
    carbonserver: CarbonServer = field(default_factory=CarbonServer)
    relay: Relay = field(default_factory=Relay)
    state: State = field(default_factory=State)
    statsd: StatsD = field(default_factory=StatsD)
    access: AccessSettings = field(default_factory=AccessSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    hub: FleetSettings = field(default_factory=FleetSettings)

    def section(self, name: str) -> Any:  # noqa: ANN401 - each section has a class of its own
        """The settings of one section of the file."""
        return self.inputs[name] if name in self.inputs else getattr(self, name)

    @property
    def runtime(self) -> RuntimeSettings:
        """What the engine's runtime is told, as any host tells it."""
        server, state = self.carbonserver, self.state
        return RuntimeSettings(
            usage_report_frequency=server.quota_usage_report_frequency,
            throughput_unit=server.throughput_unit,
            max_creates_per_second=server.max_creates_per_second,
            scan_frequency=server.scan_frequency,
            state_enabled=state.enabled,
            state_dir=state.directory,
            state_snapshot_frequency=state.snapshot_frequency,
            series_ttl=state.series_ttl,
        )
