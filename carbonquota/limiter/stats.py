"""What the limiter tells of itself: one table of every value, and samples of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbonquota.service.health import StatKind

_COUNTER: Final = StatKind.COUNTER
_GAUGE: Final = StatKind.GAUGE


@dataclass(frozen=True, slots=True)
class Stat:
    """What one value of the table means; `labels` name what its samples are told apart by."""

    kind: StatKind
    meaning: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One value now: `stat` is a key of `STATS`, `labels` has a value for each of its labels."""

    stat: str
    value: float
    labels: tuple[str, ...] = ()


STATS: Final[dict[str, Stat]] = {
    "limiter_decisions": Stat(
        _COUNTER, "Descriptors decided on, by rule, route, tier and outcome", ("rule", "route", "tier", "outcome")
    ),
    "limiter_rules": Stat(_GAUGE, "Rules in force"),
    "limiter_keys": Stat(_GAUGE, "Keys that are counted in this process"),
    "limiter_evicted": Stat(_COUNTER, "Keys that had to go, as there was no room"),
    "limiter_evicted_limited": Stat(_COUNTER, "Those of them that were being limited"),
    "limiter_store_up": Stat(_GAUGE, "1 while the store can be used"),
    "limiter_store_loads": Stat(_COUNTER, "How often functions were loaded into the store, as it did not have them"),
    "limiter_store_restarts": Stat(
        _COUNTER, "How often the store was found to be another run of the server than before"
    ),
    "limiter_store_errors": Stat(_COUNTER, "How often the store could not be used, by reason", ("reason",)),
    "limiter_breaker_opened": Stat(_COUNTER, "How often the store came to be asked no more for a while"),
    "limiter_local_answers": Stat(_COUNTER, "Requests decided without asking the store, by how", ("how",)),
    "limiter_banned": Stat(_GAUGE, "Clients that are denied for a while"),
    "limiter_bans": Stat(_COUNTER, "Clients that came to be denied for a while, by whom", ("by",)),
    "limiter_brownout": Stat(_GAUGE, "By what the limits of a tier are multiplied now", ("tier",)),
    "limiter_reloads": Stat(_COUNTER, "Reloads of the rules, by outcome", ("outcome",)),
    "limiter_hub_up": Stat(_GAUGE, "1 while the quota service answers, where limits come from there"),
    "limiter_hub_release": Stat(_GAUGE, "Number of its release in force, 0 for none"),
    "limiter_reload_ok": Stat(_GAUGE, "1 if what stands in the files is in force"),
}
"""Every value by name. For Prometheus, `carbonquota_` stands before it, and `_total` behind a counter."""
