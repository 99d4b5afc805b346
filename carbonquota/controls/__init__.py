"""The controls: the table of them, the decision, and the answers it gives.

`backend_of` is the one place where the decision in C or the plain one is chosen.
"""

from __future__ import annotations

from carbonquota.control import CONTROLS, Control
from carbonquota.controls.admission import WHY_MALFORMED, Admission, BatchDecision, Drop
from carbonquota.controls.backend import Backend, Turn
from carbonquota.controls.children import Children
from carbonquota.controls.explanation import ControlState, Explanation, NamespaceExplanation, NamespaceQuota
from carbonquota.controls.quota_columns import QuotaColumns
from carbonquota.controls.reference import Decider, ReferenceBackend
from carbonquota.controls.refill import ClockWatch, FixedWindow, Refill
from carbonquota.controls.table import THROUGHPUT, CompiledRule, compiled_rules
from carbonquota.kernel import COMPILED
from carbonquota.model import ThroughputUnit

__all__ = [
    "CONTROLS",
    "THROUGHPUT",
    "WHY_MALFORMED",
    "Admission",
    "Backend",
    "BatchDecision",
    "Children",
    "ClockWatch",
    "CompiledRule",
    "Control",
    "ControlState",
    "Decider",
    "Drop",
    "Explanation",
    "FixedWindow",
    "NamespaceExplanation",
    "NamespaceQuota",
    "QuotaColumns",
    "Refill",
    "ThroughputUnit",
    "Turn",
    "backend_of",
    "compiled_rules",
]


def backend_of(decider: Decider, turn: Turn) -> Backend:
    """What decides: in C, where the compiled kernel runs."""
    if not COMPILED:
        return ReferenceBackend(decider, turn)
    from carbonquota.controls.native import NativeBackend  # noqa: PLC0415 - it is built with the kernel, or not at all

    return NativeBackend(decider, turn)
