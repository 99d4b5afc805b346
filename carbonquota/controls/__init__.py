"""The controls: the table of them, how each decides, and the answers they give."""

from __future__ import annotations

from carbonquota.controls.admission import WHY_MALFORMED, Admission, Drop
from carbonquota.controls.children import Children
from carbonquota.controls.decision import Decider
from carbonquota.controls.explanation import ControlState, Explanation, NamespaceExplanation, NamespaceQuota
from carbonquota.controls.interval import Interval
from carbonquota.controls.standing import Quotas
from carbonquota.controls.table import CONTROLS, THROUGHPUT, Control, Grant, grants
from carbonquota.model import ThroughputUnit

__all__ = [
    "CONTROLS",
    "THROUGHPUT",
    "WHY_MALFORMED",
    "Admission",
    "Children",
    "Control",
    "ControlState",
    "Decider",
    "Drop",
    "Explanation",
    "Grant",
    "Interval",
    "NamespaceExplanation",
    "NamespaceQuota",
    "Quotas",
    "ThroughputUnit",
    "grants",
]
