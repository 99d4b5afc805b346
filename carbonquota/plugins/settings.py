"""`carbon.conf`: its quota settings, and what carbon's own say that matters to quotas.

Carbon has read the file already, `[cache]` first and then `[cache:b]`, and given numbers for all that looks like one;
what a setting means is decided here. Where there is no `QUOTAS_FILE`, there are no quotas, and nothing else is looked
at but misspelled names. Times are in seconds. Nothing in here imports numpy, whose threads a carbon without quotas is
not to have.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from carbonquota.client.fleet import FleetSettings
from carbonquota.cluster.settings import ClusterSettings
from carbonquota.errors import ConfigError, Problem
from carbonquota.plugins.cluster_settings import (
    READERS,
    SettingError,
    cluster_settings,
    complaint_about,
    is_of_cluster,
)
from carbonquota.plugins.hub_settings import HUB_READERS, hub_complaint, hub_settings, is_of_hub
from carbonquota.service.runtime_settings import DEFAULTS, RuntimeSettings
from carbonquota.service.values.masking import masked
from carbonquota.suggest import did_you_mean

if TYPE_CHECKING:
    from carbonquota.model import ThroughputUnit

_PREFIX: Final = "QUOTA"
_SCHEMAS: Final = "storage-schemas.conf"
_YES: Final = frozenset({"true", "yes", "on", "1"})
_NO: Final = frozenset({"false", "no", "off", "0"})
_UNITS: Final[tuple[ThroughputUnit, ...]] = ("interval", "minute")
_LONGEST: Final = 9_000_000_000
"""Seconds, about 285 years: more than anybody means."""


@dataclass(frozen=True, slots=True)
class QuotaSettings:
    """What `carbon.conf` says of quotas; paths are absolute. A scan frequency of 0 is only at the start."""

    quotas_file: str
    physical_size_factor: float
    runtime: RuntimeSettings
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    hub: FleetSettings = field(default_factory=FleetSettings)


def _seconds(least: float, zero: str = "") -> Callable[[object], float]:
    """Reads seconds, at least so many."""
    shown = f"a number of seconds, at least {least:g}{f' ({zero})' if zero else ''}; write 300 for five minutes"

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= _LONGEST:
            raise SettingError(shown)
        return float(value)

    return read


def _count(value: object) -> int:
    """Reads a whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SettingError("a whole number, at least 0 (no limit)")
    return value


def _factor(value: object) -> float:
    """Reads a share."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise SettingError("a number above 0; write 1 for the full size, 0.5 for half of it")
    return float(value)


def _flag(value: object) -> bool:
    """Reads yes or no, in the words that carbon takes."""
    word = str(value).lower()
    if word not in _YES | _NO:
        raise SettingError("True or False")
    return word in _YES


def _unit(value: object) -> ThroughputUnit:
    """Reads what a throughput limit is for."""
    for unit in _UNITS:
        if value == unit:
            return unit
    raise SettingError(" or ".join(_UNITS))


def _path(value: object) -> str:
    """Reads a path."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise SettingError("a path; write it with its directory, as in /etc/carbon/storage-quotas.conf")
    return os.path.expanduser(value)  # noqa: PTH111 - it goes on as text


@dataclass(frozen=True, slots=True)
class CarbonSetting:
    """One setting: how its value is read, and its `default`, also as carbon would have it."""

    read: Callable[[object], object]
    default: object


FILE: Final = "QUOTAS_FILE"
_HUB: Final = "QUOTA_HUB_URL"
_SECRET: Final = "QUOTA_HUB_TOKEN"  # noqa: S105 - a name
"""Whose value is not shown."""

SETTINGS: Final[Mapping[str, CarbonSetting]] = {
    FILE: CarbonSetting(_path, ""),
    "QUOTA_USAGE_REPORT_FREQUENCY": CarbonSetting(_seconds(1), DEFAULTS.usage_report_frequency),
    "QUOTA_SCAN_FREQUENCY": CarbonSetting(_seconds(0, "only at the start"), DEFAULTS.scan_frequency),
    "QUOTA_THROUGHPUT_UNIT": CarbonSetting(_unit, DEFAULTS.throughput_unit),
    "QUOTA_MAX_CREATES_PER_SECOND": CarbonSetting(_count, DEFAULTS.max_creates_per_second),
    "QUOTA_PHYSICAL_SIZE_FACTOR": CarbonSetting(_factor, 1.0),
    "QUOTA_STATE_ENABLED": CarbonSetting(_flag, DEFAULTS.state_enabled),
    "QUOTA_STATE_DIR": CarbonSetting(_path, "quotas"),
    "QUOTA_STATE_SNAPSHOT_FREQUENCY": CarbonSetting(_seconds(1), DEFAULTS.state_snapshot_frequency),
    "QUOTA_SERIES_TTL": CarbonSetting(_seconds(0, "never"), DEFAULTS.series_ttl),
    **{name: CarbonSetting(read, default) for name, (read, default) in (*READERS.items(), *HUB_READERS.items())},
}
"""Every setting by name, in the order in which the example has them."""


def read_settings(values: Mapping[str, object], source: str) -> QuotaSettings | None:
    """What carbon's settings say of quotas, None where they ask for none.

    `source` is the file that they came from. ConfigError has all that is wrong.
    """
    problems = [_misspelled(name, source) for name in values if _is_meant_for_us(name) and name not in SETTINGS]
    if values.get(FILE, "") == "" and values.get(_HUB, "") != "":
        problems.append(_problem(source, f"{_HUB} is set, but {FILE} is not: its rules hold until a release comes"))
    if values.get(FILE, "") == "":
        if problems:
            raise ConfigError(problems)
        return None
    found: dict[str, object] = {}
    for name, setting in SETTINGS.items():
        value = values.get(name, setting.default)
        try:
            found[name] = setting.read(value)
        except SettingError as error:
            shown = "***" if name == _SECRET else masked(str(value))
            problems.append(_problem(source, f"{name} = {shown}: must be {error}"))
    if problems:
        raise ConfigError(problems)
    settings = _settings(found, values)
    if complaint := complaint_about(settings.cluster) or hub_complaint(settings.hub):
        raise ConfigError([_problem(source, complaint)])
    return settings


def _is_meant_for_us(name: str) -> bool:
    """Whether a setting, known or not, can only be one of ours."""
    return name.startswith(_PREFIX)


def _misspelled(name: str, source: str) -> Problem:
    return _problem(source, f"unknown setting {name}: {did_you_mean(name, SETTINGS, 'quota settings')}")


def _problem(source: str, message: str) -> Problem:
    return Problem(source, 0, 0, 0, "", message)


def _settings(found: Mapping[str, object], values: Mapping[str, object]) -> QuotaSettings:
    """The settings, with paths that stay what they are when the process changes its directory."""
    fields: dict[str, Any] = {
        _field_of(name): value for name, value in found.items() if not (is_of_cluster(name) or is_of_hub(name))
    }
    state = _absolute(values["STORAGE_DIR"], found["QUOTA_STATE_DIR"])
    fields["state_dir"] = str(Path(state) / instance_name(values))
    quotas_file = _absolute(values["CONF_DIR"], fields.pop("quotas_file"))
    factor: float = fields.pop("physical_size_factor")
    cluster = cluster_settings({name: found[name] for name in READERS})
    hub = hub_settings({name: found[name] for name in HUB_READERS})
    if hub.token_file:
        hub = replace(hub, token_file=_absolute(values["CONF_DIR"], hub.token_file))
    return QuotaSettings(quotas_file, factor, RuntimeSettings(**fields), cluster, hub)


def _field_of(name: str) -> str:
    return name.removeprefix("QUOTA_").lower()


def _absolute(directory: object, path: object) -> str:
    return os.path.normpath(Path(str(directory)).absolute() / str(path))


def instance_name(values: Mapping[str, object]) -> str:
    """What tells this process from others of the same file: `carbon-cache-a`, as carbon calls its pid file."""
    instance = values.get("instance")
    return f"{values['program']}-{instance}" if instance else str(values["program"])


@dataclass(frozen=True, slots=True)
class CarbonHost:
    """One carbon daemon.

    Its own stats begin with `stats_prefix`, and those of all its siblings on this machine with one of `own_prefixes`,
    as far as they store. `data_dir` is its Whisper tree, empty where it has none. New files in it are sparse where
    `sparse`, and those of tagged series are called by a hash where `hashes_tags`.
    """

    program: str
    stats_prefix: str
    own_prefixes: tuple[str, ...]
    schemas_file: str
    data_dir: str
    sparse: bool
    hashes_tags: bool

    @property
    def stores(self) -> bool:
        """Whether it keeps points, rather than sending them on."""
        return "cache" in self.program

    @property
    def aggregates(self) -> bool:
        """Whether it makes metrics of others."""
        return "aggregator" in self.program


def read_host(values: Mapping[str, object], hostname: str) -> CarbonHost:
    """What carbon's settings say of the daemon; `hostname` is the machine's name as its stats have it."""
    program = str(values["program"])
    kind = _kind(program)
    stem = f"{values['CARBON_METRIC_PREFIX']}.{kind}.{hostname}"
    instance = values.get("instance")
    stored = kind == "agents" and values["DATABASE"] == "whisper"
    return CarbonHost(
        program=program,
        stats_prefix=stem if instance is None else f"{stem}-{instance}",
        own_prefixes=(f"{stem}.", f"{stem}-"),
        schemas_file=str(Path(str(values["CONF_DIR"])).absolute() / _SCHEMAS),
        data_dir=str(Path(str(values["LOCAL_DATA_DIR"])).absolute()) if stored else "",
        sparse=bool(values["WHISPER_SPARSE_CREATE"]),
        hashes_tags=bool(values["TAG_HASH_FILENAMES"]),
    )


def _kind(program: str) -> str:
    """Where carbon files the stats of a program, in the order in which it asks."""
    if "cache" in program:
        return "agents"
    return "aggregator" if "aggregator" in program else "relays"
