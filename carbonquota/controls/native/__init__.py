"""The decision in C: whole batches over columns, with Python's help only where a line needs it."""

from __future__ import annotations

from carbonquota.controls.native.backend import NativeBackend

__all__ = ["NativeBackend"]
