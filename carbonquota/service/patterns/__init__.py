"""Patterns that only Python's `re` reads, matched where none can hold up the program."""

from carbonquota.service.patterns.guard import PatternGuard

__all__ = ["PatternGuard"]
