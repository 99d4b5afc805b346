"""The kinds of values that only the daemon's configuration has, beside those of `service.values.kinds`."""

from __future__ import annotations

from typing import Final

from carbonquota.cluster.peers import Peer, peer_of
from carbonquota.cluster.store_url import check_store_url
from carbonquota.errors import MetricNameError
from carbonquota.metric_name import normalize
from carbonquota.service.values.address import read_destination
from carbonquota.service.values.kinds import ValueKind, quoted, refuse, text
from carbonquota.service.values.masking import masked
from carbonquota.service.values.value_error import SettingValueError, described

_LARGEST_FACTOR: Final = 1000
"""Times that a file may be as large on disk as its points are: far past any that is."""
HOST: Final = "{host}"
"""What the host's name is put in place of, in graph-prefix."""


def _read_prefix(value: object) -> str:
    """A prefix of stats in carbon: a metric's name in normal form, with `{host}` still in it."""
    prefix = text(value)
    filled = prefix.replace(HOST, "host")
    if any(character in "{};" or character.isspace() for character in filled):
        refuse(f'"{prefix}" cannot begin the name of a metric', f"take out blanks, ; and braces other than {HOST}")
    try:
        normalize(filled)
    except MetricNameError as error:
        raise SettingValueError(
            f"no name of a metric begins so: {error}", 'for example "carbon.agents.{host}"'
        ) from None
    return prefix


def _read_statsd_prefix(value: object) -> str:
    prefix = text(value)
    if any(character in ":|@#" or character.isspace() or not character.isprintable() for character in prefix):
        raise SettingValueError(
            "a blank, a control character or one of : | @ #, which no StatsD name may hold", "take it out"
        )
    return prefix.strip(".")


def _read_store(value: object) -> str:
    url = text(value)
    try:
        check_store_url(url)
    except ValueError as error:
        raise SettingValueError(str(error), 'for example "valkey://127.0.0.1:6379"') from None
    return url


def _read_peers(value: object) -> tuple[Peer, ...]:
    if not isinstance(value, list):
        raise SettingValueError(
            f"this is a list, not {described(value)}", 'for example ["10.0.0.2:2005", "10.0.0.3:2005"]'
        )
    peers = []
    for one in value:
        try:
            peers.append(peer_of(text(one)))
        except ValueError as error:
            raise SettingValueError(
                str(error), 'for example "10.0.0.2:2005", or "dns://nodes:2005" for all of a name'
            ) from None
    return tuple(peers)


def _write_peers(value: object) -> str:
    assert isinstance(value, tuple)  # noqa: S101 - what `_read_peers` gives
    return f"[{', '.join(map(quoted, value))}]"


def _read_factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingValueError(
            f"this is a number, not {described(value)}", "write it without quotes, for example 0.75"
        )
    if not 0 < value <= _LARGEST_FACTOR:
        raise SettingValueError(
            f"this is above 0 and at most {_LARGEST_FACTOR}, not {value}",
            "1 is as large as the points, 0.75 three quarters of it",
        )
    return float(value)


FACTOR: Final = ValueKind(_read_factor, repr)
PREFIX: Final = ValueKind(_read_prefix, quoted)
STATSD_PREFIX: Final = ValueKind(_read_statsd_prefix, quoted)
STORE: Final = ValueKind(_read_store, lambda value: quoted(masked(str(value))))
PEERS: Final = ValueKind(_read_peers, _write_peers)
DESTINATION: Final = ValueKind(lambda value: read_destination(text(value)), quoted)
