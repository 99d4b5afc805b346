"""The engine: rules, index and controls behind one lock, as the calls that a program makes."""

from carbonquota.engine.engine import QuotaEngine

__all__ = ["QuotaEngine"]
