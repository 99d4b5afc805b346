"""The index of namespaces and series, and what is counted there."""

from __future__ import annotations

from carbonquota.trie.changes import ChangeRun
from carbonquota.trie.descent import RuleMatcher
from carbonquota.trie.holdings import Change, Holdings
from carbonquota.trie.index import Index
from carbonquota.trie.namespaces import ROOT_ROW, Namespaces
from carbonquota.trie.quotas import NO_QUOTA, NO_RULE, Quotas, QuotaTerms
from carbonquota.trie.rebuild import Rebuild
from carbonquota.trie.taken import TakenCounts, TakenQuotas, Taking, take_counts, take_ended_counts

__all__ = [
    "NO_QUOTA",
    "NO_RULE",
    "ROOT_ROW",
    "Change",
    "ChangeRun",
    "Holdings",
    "Index",
    "Namespaces",
    "QuotaTerms",
    "Quotas",
    "Rebuild",
    "RuleMatcher",
    "TakenCounts",
    "TakenQuotas",
    "Taking",
    "take_counts",
    "take_ended_counts",
]
