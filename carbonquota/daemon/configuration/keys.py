"""The table of all keys: section, key, kind. A key's field in `Settings` is its name with `_` for `-`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, get_args

from carbonquota.client.fleet_values import HUB_GROUP, HUB_TOKEN, HUB_URL
from carbonquota.cluster.settings import Mode, OnOutage, Reports
from carbonquota.controls import ThroughputUnit
from carbonquota.daemon.inputs import INPUTS
from carbonquota.daemon.settings import Cache
from carbonquota.daemon.values.kinds import DESTINATION, FACTOR, PEERS, PREFIX, STATSD_PREFIX, STORE
from carbonquota.service.values.kinds import (
    DIRECTORY,
    FILE,
    HOSTS,
    LISTEN,
    LISTEN_TEXT,
    NAME,
    SWITCH,
    ValueKind,
    choice,
    count,
    duration,
    size,
)
from carbonquota.web.access_keys import ACCESS_KEYS

NEVER: Final = "0 is never"
CACHE_SIZE: Final = replace(count(), read=lambda value: count().read(value) or Cache().max_size)
"""0 is go-carbon's word for no bound. Here there is one all the same: a full cache costs no point, as senders wait."""

KEYS: Final[Mapping[str, Mapping[str, ValueKind]]] = {
    "common": {
        "graph-prefix": PREFIX,
    },
    "whisper": {
        "enabled": SWITCH,
        "data-dir": DIRECTORY,
        "schemas-file": FILE,
        "aggregation-file": FILE,
        "quotas-file": FILE,
        "sparse-create": SWITCH,
        "physical-size-factor": FACTOR,
        "max-updates-per-second": count(),
        "max-creates-per-second": count(),
    },
    "cache": {
        "max-size": CACHE_SIZE,
    },
    **{name: one.all_keys for name, one in INPUTS.items()},
    "carbonserver": {
        "listen": LISTEN,
        "enabled": SWITCH,
        "scan-frequency": duration(zero=NEVER),
        "quota-usage-report-frequency": duration(least=1),
        "max-creates-per-second": count(),
        "throughput-unit": choice(*get_args(ThroughputUnit)),
        "allowed-hosts": HOSTS,
        "prometheus-max-namespaces": count(),
    },
    "access": ACCESS_KEYS,
    "relay": {
        "enabled": SWITCH,
        "destination": DESTINATION,
        "queue-max-size": size(least=1),
        "spool-dir": FILE,
        "spool-max-size": size(),
        "timeout": duration(least=0.001),
        "resend-window": duration(),
    },
    "state": {
        "enabled": SWITCH,
        "directory": DIRECTORY,
        "snapshot-frequency": duration(least=1),
        "series-ttl": duration(zero=NEVER),
    },
    "statsd": {
        "enabled": SWITCH,
        "address": DESTINATION,
        "prefix": STATSD_PREFIX,
    },
    "cluster": {
        "mode": choice(*get_args(Mode)),
        "name": NAME,
        "listen": LISTEN_TEXT,
        "peers": PEERS,
        "sync-interval": duration(least=0.01),
        "key-file": FILE,
        "store": STORE,
        "store-password-file": FILE,
        "store-timeout": duration(least=0.01),
        "on-outage": choice(*get_args(OnOutage)),
        "reports": choice(*get_args(Reports)),
    },
    "hub": {
        "url": HUB_URL,
        "token": HUB_TOKEN,
        "token-file": FILE,
        "group": HUB_GROUP,
        "wait": duration(least=1),
        "usage-interval": duration(zero=NEVER),
    },
}
"""By section and key, in the order in which they are written."""
