"""What a reader raises about a value that does not fit its key."""

from __future__ import annotations

from carbonquota.errors import QuotaError


class SettingValueError(QuotaError):
    """A value that cannot be what its key needs: what is wrong, and a remedy. It does not know its place."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        """Take the message, which goes on from the key's name, and the remedy."""
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


def described(value: object) -> str:
    """What a TOML value is, in a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{value}"'
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"
