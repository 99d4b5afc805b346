"""`carbonquota.conf`, or a `go-carbon.conf`: TOML text to `Settings`, every problem told at once, and back to text."""

from __future__ import annotations

from carbonquota.daemon.configuration.go_carbon import Diagnostics
from carbonquota.daemon.configuration.keys import KEYS
from carbonquota.daemon.configuration.load import Configuration, format_settings, load_settings, read_configuration
from carbonquota.daemon.configuration.recognize import is_configuration

__all__ = [
    "KEYS",
    "Configuration",
    "Diagnostics",
    "format_settings",
    "is_configuration",
    "load_settings",
    "read_configuration",
]
