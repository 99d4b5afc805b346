"""What rules would have done to the requests of an access log."""

from __future__ import annotations

from carbonquota.limiter.trial.access_log import FIELDS, LogLine, LogReader
from carbonquota.limiter.trial.templates import Templates
from carbonquota.limiter.trial.trial import Limited, Trial

__all__ = ["FIELDS", "Limited", "LogLine", "LogReader", "Templates", "Trial"]
