"""The settings of `carbon.conf` about rules that come from the quota service: how each is read, and what they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from carbonquota.client.fleet import FleetSettings
from carbonquota.client.fleet_values import HUB_GROUP, HUB_TOKEN, HUB_URL
from carbonquota.plugins.cluster_settings import SettingError
from carbonquota.service.values.kinds import ValueKind
from carbonquota.service.values.value_error import SettingValueError

_DEFAULTS: Final = FleetSettings()
_PREFIX: Final = "QUOTA_HUB_"


def _by(kind: ValueKind, shown: str) -> Callable[[object], object]:
    """Reads what the daemon's file has, too; carbon may have taken it for a number."""

    def read(value: object) -> object:
        try:
            return kind.read(str(value))
        except SettingValueError as error:
            raise SettingError(f"{shown}: {error}") from None

    return read


def _seconds(least: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 86_400:
            raise SettingError(f"a number of seconds, from {least:g} to 86400")
        return float(value)

    return read


HUB_READERS: Final[Mapping[str, tuple[Callable[[object], object], object]]] = {
    "QUOTA_HUB_URL": (
        _by(HUB_URL, "the URL of a quota service"),
        _DEFAULTS.url,
    ),
    "QUOTA_HUB_TOKEN": (_by(HUB_TOKEN, "a token as it was shown"), _DEFAULTS.token),
    "QUOTA_HUB_TOKEN_FILE": (str, _DEFAULTS.token_file),
    "QUOTA_HUB_GROUP": (_by(HUB_GROUP, "the name of a group"), _DEFAULTS.group),
    "QUOTA_HUB_WAIT": (_seconds(1), _DEFAULTS.wait),
    "QUOTA_HUB_USAGE_INTERVAL": (_seconds(0), _DEFAULTS.usage_interval),
}
"""How each setting is read, and its default as carbon would have it."""


def is_of_hub(name: str) -> bool:
    """Whether a setting is one of these."""
    return name.startswith(_PREFIX)


def hub_settings(found: Mapping[str, object]) -> FleetSettings:
    """What the values read come to, by the names of settings."""
    fields: dict[str, Any] = {name.removeprefix(_PREFIX).lower(): value for name, value in found.items()}
    return FleetSettings(**fields)


def hub_complaint(settings: FleetSettings) -> str:
    """What is wrong with settings that are right one by one; empty where nothing is."""
    given = [name for name in ("token", "token_file", "group") if getattr(settings, name)]
    if given and not settings.url:
        return f"{_PREFIX}{given[0].upper()} is set, but {_PREFIX}URL is not: set it, too"
    if settings.token and settings.token_file:
        return f"{_PREFIX}TOKEN_FILE is set, and so is {_PREFIX}TOKEN: keep one of the two"
    return ""
