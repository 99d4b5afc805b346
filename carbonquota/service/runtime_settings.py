"""What every host of the engine is told by its configuration file, whatever the file and its keys are called.

Nothing in here imports numpy: a carbon without quotas reads its settings, and must not start numpy's threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from carbonquota.model import ThroughputUnit


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """Intervals, limits and the state of one runtime; times are in seconds.

    `max_creates_per_second` 0 is no limit, `series_ttl` 0 is never; what a `scan_frequency` of 0 means is the host's
    to say. The state is kept in `state_dir` where `state_enabled`.
    """

    usage_report_frequency: float = 60.0
    throughput_unit: ThroughputUnit = "interval"
    max_creates_per_second: int = 0
    scan_frequency: float = 300.0
    state_enabled: bool = True
    state_dir: str = ""
    state_snapshot_frequency: float = 300.0
    series_ttl: float = 0.0


DEFAULTS: Final = RuntimeSettings()
"""What holds where a configuration file does not say otherwise."""
