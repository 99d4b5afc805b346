"""Our log lines in carbon's logs: `quotas.log` beside its others, or marked `[quotas]` where it logs to one place."""

from __future__ import annotations

import logging
from typing import Final

from carbon import log

TYPE: Final = "quotas"
"""What carbon's log is told that our lines are about; the name of the file."""


class CarbonHandler(logging.Handler):
    """Hands records on to carbon's log, which may be called from any thread."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it, its level before it where somebody should look at it."""
        try:
            text = self.format(record)
            loud = record.levelno >= logging.WARNING
            log.msg(f"{record.levelname}: {text}" if loud else text, type=TYPE)
        except Exception:  # noqa: BLE001 - as logging has it: a line that cannot be written ends nothing
            self.handleError(record)


def log_to_carbon() -> None:
    """Have all that the package logs appear in carbon's logs."""
    logger = logging.getLogger("carbonquota")
    if not any(isinstance(handler, CarbonHandler) for handler in logger.handlers):
        logger.addHandler(CarbonHandler())
    logger.setLevel(logging.DEBUG if log.debugEnabled else logging.INFO)
    logger.propagate = False
