"""The keys of a limiter's file: section, key, kind. A key's field in the settings is its name with `_` for `-`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, get_args

from carbonquota.client.fleet_values import HUB_GROUP, HUB_TOKEN, HUB_URL
from carbonquota.cluster.store_url import check_store_url
from carbonquota.limiter.identity.address import read_networks
from carbonquota.limiter.identity.heads import Forwarded, Original
from carbonquota.limiter.identity.resolve import check_words
from carbonquota.service.values.kinds import (
    FILE,
    HOSTS,
    LISTEN,
    NAME,
    SWITCH,
    ValueKind,
    choice,
    count,
    duration,
    quoted,
    text,
)
from carbonquota.service.values.masking import masked
from carbonquota.service.values.value_error import SettingValueError, described
from carbonquota.web.access_keys import ACCESS_KEYS

_Value = TypeVar("_Value")


def _list(value: object, example: str) -> list[Any]:
    if not isinstance(value, list):
        raise SettingValueError(f"this is a list, not {described(value)}", f"for example {example}")
    return value


def _checked(check: Callable[[Any], object], value: _Value, remedy: str) -> _Value:
    """The value, once it is found good."""
    try:
        check(value)
    except ValueError as error:
        raise SettingValueError(str(error), remedy) from None
    return value


def _read_rules(value: object) -> tuple[str, ...]:
    return tuple(FILE.read(one) for one in ([value] if isinstance(value, str) else _list(value, '["limits.yaml"]')))


def _read_networks(value: object) -> tuple[str, ...]:
    example = '["10.0.0.0/8", "127.0.0.1"]'
    return _checked(read_networks, tuple(text(one) for one in _list(value, example)), f"for example {example}")


def _read_descriptors(value: object) -> tuple[tuple[str, ...], ...]:
    example = 'for example [["client"], ["route", "client"]]'
    lists = [_list(one, '["route", "client"]') for one in _list(value, example[12:])]
    return tuple(_checked(check_words, tuple(text(word) for word in words), example) for words in lists)


def _read_store(value: object) -> str:
    url = text(value)
    return _checked(check_store_url, url, 'for example "valkey://127.0.0.1:6379"') if url else url


def _read_methods(value: object) -> frozenset[str]:
    return frozenset(text(one).upper() for one in _list(value, '["GET", "HEAD"]'))


def _as_json(value: object) -> str:
    """Lists of texts, as TOML has them too."""
    return json.dumps(sorted(value) if isinstance(value, frozenset) else value, ensure_ascii=False)


TEXT: Final = ValueKind(text, quoted)
RULES: Final = ValueKind(_read_rules, _as_json, is_path=True)
NETWORKS: Final = ValueKind(_read_networks, _as_json)
DESCRIPTORS: Final = ValueKind(_read_descriptors, _as_json)
STORE: Final = ValueKind(_read_store, lambda value: quoted(masked(str(value))))
METHODS: Final = ValueKind(_read_methods, _as_json)

ROUTE_KEYS: Final[Mapping[str, ValueKind]] = {
    "name": NAME,
    "path": TEXT,
    "methods": METHODS,
    "host": TEXT,
    "cost": count(1, 1_000_000),
    "descriptors": DESCRIPTORS,
}
"""Of each of [[routes]]."""

KEYS: Final[Mapping[str, Mapping[str, ValueKind]]] = {
    "limiter": {
        "rules": RULES,
        "watch-frequency": duration(least=0.1, zero="0 is never"),
        "shadow": SWITCH,
        "drain": duration(),
        "client-timeout": duration(least=0.1),
    },
    "grpc": {"enabled": SWITCH, "listen": LISTEN, "max-connections": count(1, 65_536)},
    "http": {
        "enabled": SWITCH,
        "listen": LISTEN,
        "max-connections": count(1, 65_536),
        "denied-status": count(400, 599),
    },
    "admin": {"enabled": SWITCH, "listen": LISTEN, "allowed-hosts": HOSTS},
    "access": ACCESS_KEYS,
    "headers": {"ietf": SWITCH, "x-ratelimit": SWITCH},
    "identity": {
        "domain": NAME,
        "descriptors": DESCRIPTORS,
        "trusted-proxies": NETWORKS,
        "forwarded": choice(*get_args(Forwarded)),
        "original": choice(*get_args(Original)),
        "ipv6-prefix": count(1, 128),
        "tier": TEXT,
        "keys-file": FILE,
        "key-header": NAME,
        "required": SWITCH,
    },
    "jwt": {"keys": TEXT, "issuer": TEXT, "audience": TEXT, "user-claim": NAME, "tier-claim": NAME},
    "store": {
        "url": STORE,
        "name": NAME,
        "password-file": FILE,
        "timeout": duration(least=0.001),
        "processes": count(1, 10_000),
        "slices": SWITCH,
    },
    "hub": {
        "url": HUB_URL,
        "token": HUB_TOKEN,
        "token-file": FILE,
        "group": HUB_GROUP,
        "node": TEXT,
        "wait": duration(least=1),
        "kept-file": FILE,
    },
}
"""By section and key, in the order in which they are written."""
