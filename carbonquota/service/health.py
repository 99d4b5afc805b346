"""The program's own health: one table of every value, and how parts of the program report theirs.

Each part of the program (a receiver, a sink, the state) owns its counts and gives them as `HealthSample`s. What a
sample means stands here, once, for carbon, StatsD and Prometheus alike. Counters only grow while the program runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final


class StatKind(Enum):
    """Whether a value only grows (`COUNTER`) or goes up and down (`GAUGE`)."""

    COUNTER = "counter"
    GAUGE = "gauge"


COUNTER: Final = StatKind.COUNTER
GAUGE: Final = StatKind.GAUGE


@dataclass(frozen=True, slots=True)
class HealthStat:
    """What one value of the table means; `label` names what its samples are told apart by, if anything."""

    kind: StatKind
    meaning: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class HealthSample:
    """One value now: `stat` is a key of `HEALTH`, `label` the label's value where the stat has a label."""

    stat: str
    value: float
    label: str = ""


HEALTH: Final[dict[str, HealthStat]] = {
    "received": HealthStat(COUNTER, "Data points and lines that came in, whatever became of them"),
    "accepted": HealthStat(COUNTER, "Data points within every quota"),
    "dropped": HealthStat(COUNTER, "Data points over a quota, by control", "control"),
    "malformed": HealthStat(COUNTER, "Lines and messages that are no data point, by reason", "reason"),
    "unread_datagrams": HealthStat(COUNTER, "UDP datagrams thrown away because the sink was full"),
    "connections": HealthStat(GAUGE, "Open connections of senders, by receiver", "receiver"),
    "closed_connections": HealthStat(COUNTER, "Connections of senders closed by us, by reason", "reason"),
    "paused": HealthStat(GAUGE, "1 while senders wait because the sink is full"),
    "held_back": HealthStat(COUNTER, "Data points that waited a moment for more of a limit, then accepted or dropped"),
    "own_points": HealthStat(COUNTER, "Data points of the program's own stats, given to the sink"),
    "queue_points": HealthStat(GAUGE, "Data points that wait in memory for the sink"),
    "queue_bytes": HealthStat(GAUGE, "Bytes that wait in memory for the sink"),
    "spool_points": HealthStat(GAUGE, "Data points that wait on disk for the destination"),
    "spool_bytes": HealthStat(GAUGE, "Bytes that wait on disk for the destination"),
    "forwarded": HealthStat(COUNTER, "Data points sent to the destination"),
    "resent": HealthStat(COUNTER, "Data points sent once more after a connection was lost"),
    "stored": HealthStat(COUNTER, "Data points written to Whisper files"),
    "created_files": HealthStat(COUNTER, "Whisper files created"),
    "lost": HealthStat(COUNTER, "Accepted data points that the sink had to give up, by reason", "reason"),
    "sink_errors": HealthStat(COUNTER, "Failures of the sink, by reason", "reason"),
    "sink_up": HealthStat(GAUGE, "1 while the destination is connected, or the last write to disk succeeded"),
    "series": HealthStat(GAUGE, "Metrics in the index"),
    "namespaces": HealthStat(GAUGE, "Namespaces in the index"),
    "batches": HealthStat(COUNTER, "Batches decided"),
    "decision_seconds": HealthStat(COUNTER, "Time spent deciding, in seconds"),
    "report_seconds": HealthStat(GAUGE, "How long the last report took, in seconds"),
    "report_usage_untold": HealthStat(
        COUNTER, "Namespaces whose usage over all nodes was missing in a report, as the cluster could not be asked"
    ),
    "patterns_aside": HealthStat(GAUGE, "Patterns of metrics that took too long and are set aside"),
    "pattern_timeouts": HealthStat(COUNTER, "New metrics that a pattern could not be matched with in time"),
    "event_loop_lag_seconds": HealthStat(GAUGE, "Seconds since the event loop last turned, half a second being usual"),
    "event_loop_stalls": HealthStat(COUNTER, "How often the event loop did not turn for a second or longer"),
    "rules": HealthStat(GAUGE, "Rules in force"),
    "reloads": HealthStat(COUNTER, "Reloads of rules and schemas, by result", "result"),
    "reload_ok": HealthStat(GAUGE, "1 if the last reload succeeded, 0 while an older configuration is in force"),
    "reload_time": HealthStat(GAUGE, "When the last reload was tried, in seconds since the epoch"),
    "snapshot_time": HealthStat(GAUGE, "When the last snapshot was written, in seconds since the epoch"),
    "snapshot_seconds": HealthStat(GAUGE, "How long the last snapshot took, in seconds"),
    "journal_bytes": HealthStat(GAUGE, "Bytes in the journal since the last snapshot"),
    "state_errors": HealthStat(COUNTER, "Failures to write the state"),
    "scan_time": HealthStat(GAUGE, "When the last scan ended, in seconds since the epoch"),
    "scan_seconds": HealthStat(GAUGE, "How long the last scan took, in seconds"),
    "scan_files": HealthStat(GAUGE, "Whisper files seen by the last scan"),
    "scan_errors": HealthStat(GAUGE, "Files and directories that the last scan could not read"),
    "emitter_errors": HealthStat(COUNTER, "Failures to send a report, by where to", "emitter"),
    "expired": HealthStat(COUNTER, "Metrics that stopped counting because no point of them came for series-ttl"),
    "internal_errors": HealthStat(COUNTER, "Bugs that were survived, by place", "place"),
    "cluster_nodes": HealthStat(GAUGE, "Nodes of the cluster that are known here, this one included"),
    "cluster_namespaces": HealthStat(GAUGE, "Namespaces kept whose throughput limits are shared"),
    "cluster_sent": HealthStat(COUNTER, "Messages published to the other nodes"),
    "cluster_heard": HealthStat(COUNTER, "Messages that came from the other nodes"),
    "cluster_missed": HealthStat(COUNTER, "Messages of other nodes that never came"),
    "cluster_overshoot": HealthStat(COUNTER, "Points over limits in all nodes together, as far as seen here"),
    "cluster_overshoot_bound": HealthStat(
        GAUGE, "Points that other nodes let in between two messages: by so many limits may be passed in all"
    ),
    "cluster_refused": HealthStat(COUNTER, "Messages that were not taken, by reason", "reason"),
    "cluster_peer_age": HealthStat(GAUGE, "Seconds since the last message of each other node", "node"),
    "cluster_peer_skew": HealthStat(GAUGE, "Seconds that the clock of each other node is ahead of ours", "node"),
    "cluster_store_up": HealthStat(GAUGE, "1 while the store of the cluster can be used"),
    "cluster_store_seconds": HealthStat(GAUGE, "How long the last exchange with the store took, in seconds"),
    "cluster_store_skew": HealthStat(GAUGE, "Seconds that the clock of the store is ahead of ours"),
    "cluster_slices": HealthStat(
        COUNTER, "Points of limits taken from the store, returned to it, or lost by coming too late", "outcome"
    ),
    "cluster_claims": HealthStat(
        COUNTER, "New metrics that were granted, refused, not asked about, declared and released", "what"
    ),
    "cluster_claims_waiting": HealthStat(GAUGE, "Points of new metrics that wait for the store's word"),
    "cluster_claims_waiting_bytes": HealthStat(GAUGE, "Bytes of them"),
    "cluster_claims_ready": HealthStat(GAUGE, "1 once it is known what all nodes hold, and new metrics are decided on"),
    "cluster_held": HealthStat(GAUGE, "Metrics under shared limits that all nodes hold, each once, as far as heard"),
    "cluster_outages": HealthStat(COUNTER, "How often the store could not be used, by reason", "reason"),
    "hub_up": HealthStat(GAUGE, "1 while the quota service answers that rules come from"),
    "hub_release": HealthStat(GAUGE, "The release of the fleet's rules in force, 0 for none"),
    "start_time": HealthStat(GAUGE, "When the program started, in seconds since the epoch"),
    "kernel": HealthStat(GAUGE, "1, labelled by the kernel that runs", "kernel"),
}
"""Every value by name. In carbon it is `{graph-prefix}.carbonquota.<name>[.<label>]`."""

HealthSource = Callable[[], Iterable[HealthSample]]
"""Gives one part's samples now; callable from any thread."""


class Health:
    """All parts of the program that have something to say of themselves."""

    def __init__(self, sources: Iterable[HealthSource] = ()) -> None:
        """Start with these."""
        self._sources = list(sources)

    def add(self, source: HealthSource) -> None:
        """Ask this one, too."""
        self._sources.append(source)

    def samples(self) -> Iterator[HealthSample]:
        """Every sample of every part, now."""
        for source in self._sources:
            yield from source()


def summed(samples: Iterable[HealthSample]) -> dict[tuple[str, str], float]:
    """The values by stat and label, in the table's order; what several parts give under one name is added up."""
    sums: dict[tuple[str, str], float] = {}
    for sample in samples:
        key = sample.stat, sample.label
        sums[key] = sums.get(key, 0) + sample.value
    places = {stat: place for place, stat in enumerate(HEALTH)}
    return dict(sorted(sums.items(), key=lambda item: (places[item[0][0]], item[0][1])))
