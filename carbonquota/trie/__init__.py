"""The index of namespaces and series, and what is counted there."""

from __future__ import annotations

from carbonquota.trie.index import Index, Matcher
from carbonquota.trie.namespaces import ROOT_ROW, Namespaces
from carbonquota.trie.quotas import NO_QUOTA, Quotas, Terms
from carbonquota.trie.rebuild import Rebuild

__all__ = ["NO_QUOTA", "ROOT_ROW", "Index", "Matcher", "Namespaces", "Quotas", "Rebuild", "Terms"]
