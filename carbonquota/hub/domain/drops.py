"""What is being dropped in the fleet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FleetDrop:
    """Points that a daemon dropped of a namespace by one control between the last two times that it told of it."""

    daemon: str
    namespace: str
    control: str
    points: int
    time: float
