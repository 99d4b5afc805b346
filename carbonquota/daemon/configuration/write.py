"""`Settings` as the TOML that they could have been read from: what is in force, every key of it."""

from __future__ import annotations

from carbonquota.daemon.configuration.keys import KEYS
from carbonquota.daemon.settings import Settings


def format_settings(settings: Settings) -> str:
    """A valid `carbonquota.conf` that says all of it; read again, it gives the same settings but for their `source`."""
    sections = []
    for section, kinds in KEYS.items():
        values = getattr(settings, section)
        lines = [f"{key} = {kind.write(getattr(values, field_of(key)))}" for key, kind in kinds.items()]
        sections.append("\n".join([f"[{section}]", *lines, ""]))
    return "\n".join(sections)


def field_of(key: str) -> str:
    """The field in `Settings` of a key."""
    return key.replace("-", "_")
