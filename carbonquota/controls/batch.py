"""The decision on a batch of lines: by the compiled kernel's ledger where there is one, else by columns."""

from __future__ import annotations

from typing import TypeAlias, cast

from carbonquota.controls import batch_columns, batch_ledger
from carbonquota.controls.admission import Admission
from carbonquota.controls.decision import Decider
from carbonquota.kernel import CompiledLines, Lines

FEW_BYTES = 1200
"""Up to so many bytes, the plain kernel is quicker line by line than with columns."""

Prepared: TypeAlias = bytes | Lines | CompiledLines
"""A buffer made ready for a decision."""


def prepare(decider: Decider, buffer: bytes) -> Prepared:
    """What needs no lock, so that many threads can do it side by side."""
    if decider.ledger is None and len(buffer) <= FEW_BYTES:
        return buffer
    return decider.index.table.read(buffer)


def admit(decider: Decider, prepared: Prepared) -> Admission:
    """Decide and charge the data points on a buffer's lines in their order; to be called under the index's lock."""
    if decider.ledger is not None:
        return batch_ledger.admit(decider, decider.ledger, cast("CompiledLines", prepared))
    if isinstance(prepared, bytes):
        return batch_columns.admit_singly(decider, prepared)
    return batch_columns.admit(decider, cast("Lines", prepared))
