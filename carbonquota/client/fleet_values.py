"""The kinds of values by which a program is told of the quota service, in `[hub]` of its file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Protocol

from carbonquota.client.json_service import checked_url
from carbonquota.errors import Problem
from carbonquota.service.values.kinds import ValueKind, quoted, text
from carbonquota.service.values.toml import TomlDocument
from carbonquota.service.values.value_error import SettingValueError


class HubValues(Protocol):
    """What is checked together."""

    @property
    def url(self) -> str:
        """Of the service."""

    @property
    def token(self) -> str:
        """Given at once."""

    @property
    def token_file(self) -> str:
        """Or in a file."""


_HIDDEN: Final = "***"
"""What is printed in the place of a secret."""
_GROUP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,199}")


def _read_url(value: object) -> str:
    try:
        return checked_url(url) if (url := text(value)) else ""
    except ValueError as error:
        raise SettingValueError(str(error), 'for example "https://quota.example.com:8090"') from None


def _read_token(value: object) -> str:
    token = text(value)
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingValueError("a token has no blanks, and no letters beyond ASCII", "copy it anew, or use token-file")
    return token


def _read_group(value: object) -> str:
    group = text(value)
    if group and not _GROUP.fullmatch(group):
        raise SettingValueError(
            f'"{group}" is no name of a group',
            "it begins with a letter or digit, and goes on with these or . _ @ : + -",
        )
    return group


HUB_URL: Final = ValueKind(_read_url, quoted)
HUB_TOKEN: Final = ValueKind(_read_token, lambda value: quoted(_HIDDEN if value else ""))
HUB_GROUP: Final = ValueKind(_read_group, quoted)


def hub_problems(hub: HubValues, document: TomlDocument) -> Iterator[Problem]:
    """There is a service to ask, and one token."""
    given = [key for key in ("token", "token-file", "group") if getattr(hub, key.replace("-", "_"))]
    if given and not hub.url:
        yield document.key_problem(("hub", given[0]), f"{given[0]} is set, but url is not", "set url in [hub], too")
    if hub.token and hub.token_file:
        yield document.key_problem(("hub", "token-file"), "token-file is set, and so is token", "keep one of the two")
