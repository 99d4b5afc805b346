"""What is reported, and how."""

from __future__ import annotations

from carbonquota.stats.plaintext import plaintext_lines
from carbonquota.stats.report import ReportColumns, ReportedQuotas, ended_intervals, named_values

__all__ = ["ReportColumns", "ReportedQuotas", "ended_intervals", "named_values", "plaintext_lines"]
