"""The errors that the quota service expects, each told apart by what the one who asked can do about it."""

from __future__ import annotations

from carbonquota.errors import QuotaError


class HubError(QuotaError):
    """The base of them."""


class InvalidError(HubError):
    """What was asked for cannot be: the text says what, where, and what mends it."""


class NotFoundError(HubError):
    """There is no such customer, provider or quota, or whoever asks may not know of it."""


class ConflictError(HubError):
    """Somebody else changed it meanwhile: read it anew, and decide again."""


class UnavailableError(HubError):
    """The database cannot be used now. Nothing was changed; the same may be asked again."""
