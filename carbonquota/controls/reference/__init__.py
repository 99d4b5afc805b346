"""The decision as plain as it can be: the definition, and what runs where there is no compiler."""

from __future__ import annotations

from carbonquota.controls.reference.all_or_none import offer_all
from carbonquota.controls.reference.backend import ReferenceBackend
from carbonquota.controls.reference.decision import Decider

__all__ = ["Decider", "ReferenceBackend", "offer_all"]
