"""Cross-checks of settings that are right one by one: which sink runs, and what cannot stand side by side."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from socket import SOCK_STREAM
from typing import Final
from urllib.parse import urlsplit

from carbonquota.client.fleet_values import hub_problems
from carbonquota.cluster.settings import is_private
from carbonquota.cluster.store_url import has_password
from carbonquota.daemon.inputs import INPUTS, InputSettings, sections
from carbonquota.daemon.settings import CarbonServer, Settings
from carbonquota.errors import Problem
from carbonquota.service.urls import is_here
from carbonquota.service.values.address import Address
from carbonquota.service.values.toml import Path, TomlDocument
from carbonquota.web.access_keys import access_problems

_ANYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104 - to be recognized, not to be listened at
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_WHISPER: Final = ("whisper", "enabled")
_RELAY: Final = ("relay", "enabled")


def resolve_sink(settings: Settings, document: TomlDocument) -> Settings:
    """Leave Whisper off where the relay is on and nothing is said about Whisper."""
    if settings.relay.enabled and _WHISPER not in document.places:
        return replace(settings, whisper=replace(settings.whisper, enabled=False))
    return settings


def cross_check(settings: Settings, document: TomlDocument) -> Iterator[Problem]:
    """The problems of settings that are right one by one."""
    yield from _sink_problems(settings, document)
    yield from _listener_problems(settings, document)
    yield from _cluster_problems(settings, document)
    yield from access_problems(settings.access, document)
    yield from hub_problems(settings.hub, document)


def remarks_on(settings: Settings) -> Iterator[str]:
    """What is allowed, but should be known."""
    if not settings.whisper.quotas_file:
        what = (
            "everything passes until the quota service has a release"
            if settings.hub.url
            else "there are no quotas, and everything passes"
        )
        yield f"{settings.source}: whisper.quotas-file is not set: {what}"
    if not settings.whisper.schemas_file:
        yield f"{settings.source}: whisper.schemas-file is not set: every metric keeps 172,800 points, one a second"
    if not any(one.enabled for one in settings.inputs.values()):
        yield f"{settings.source}: {sections()} are all off: nothing will be received"
    yield from _cluster_remarks(settings)
    yield from _access_remarks(settings)
    yield from _hub_remarks(settings)
    if settings.relay.enabled and not settings.relay.spool_dir:
        yield f"{settings.source}: relay.spool-dir is not set: what waits for the destination waits in memory alone"


def _cluster_remarks(settings: Settings) -> Iterator[str]:
    """The same about nodes that share limits."""
    cluster = settings.cluster
    if cluster.mode == "sync" and not cluster.peers:
        yield f"{settings.source}: cluster.peers is empty: this node hears nobody, so limits are its own alone"
    if cluster.mode == "slices" and has_password(cluster.store) and _is_for_all(settings.source):
        yield (
            f"{settings.source}: cluster.store has a password, and every user of this machine can read this file: "
            "chmod o-r, or set store-password-file"
        )
    if cluster.mode == "slices" and cluster.store_password_file and _is_for_all(cluster.store_password_file):
        yield f"{cluster.store_password_file}: every user of this machine can read the store's password: chmod o-r"


def _sink_problems(settings: Settings, document: TomlDocument) -> Iterator[Problem]:
    """Exactly one of Whisper and the relay, and the relay knows where to."""
    if settings.whisper.enabled and settings.relay.enabled:
        line = document.line_of(_WHISPER)
        message = f"the relay is on, and so is Whisper, at line {line}: points go to one of them"
        yield document.value_problem(_RELAY, message, "set enabled = false in [whisper] or in [relay]")
    elif not settings.whisper.enabled and not settings.relay.enabled:
        message = "neither Whisper nor the relay is on: there is nowhere to put points"
        yield document.value_problem(_WHISPER, message, "set enabled = true in [whisper] or in [relay]")
    elif settings.relay.enabled:
        yield from _destination_problems(settings, document)


def _cluster_problems(settings: Settings, document: TomlDocument) -> Iterator[Problem]:
    """Whoever reaches the port could take limits away from this node, so it is a private one, or there is a key."""
    cluster = settings.cluster
    host = cluster.listen.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if cluster.mode == "sync" and not cluster.key_file and not is_private(host):
        path = ("cluster", "listen")
        message = f"the cluster would listen at {cluster.listen} for everybody who can reach it"
        hint = "set key-file (`carbonquota cluster-key` makes one), or listen at a private address"
        yield document.value_problem(path if path in document.places else ("cluster", "mode"), message, hint)


def _hub_remarks(settings: Settings) -> Iterator[str]:
    """What others may read on the way, or on this machine."""
    hub = settings.hub
    parts = urlsplit(hub.url)
    if parts.scheme == "http" and not is_here(parts.hostname or ""):
        yield f"{settings.source}: hub.url is not https: whoever is on the way can read the token, and change the rules"
    if hub.token and _is_for_all(settings.source):
        yield f"{settings.source}: hub.token is there, and every user of this machine can read this file: chmod o-r"
    if hub.url and not settings.state.enabled:
        yield f"{settings.source}: state is off: no release is kept for a start while the quota service is away"


def _access_remarks(settings: Settings) -> Iterator[str]:
    """Who may do more than is meant, perhaps."""
    access, server = settings.access, settings.carbonserver
    if server.enabled and not access.needs_tokens and server.listen.host not in _LOOPBACK:
        yield (
            f"{settings.source}: carbonserver.listen is {server.listen}, and nobody needs a token: whoever reaches it "
            "may reload the rules and read all usage: set tokens-file in [access]"
        )
    if access.tokens_file and _is_for_all(access.tokens_file):
        yield f"{access.tokens_file}: every user of this machine can read who has tokens: chmod o-r"
    if access.tls_key and _is_for_all(access.tls_key):
        yield f"{access.tls_key}: every user of this machine can read the key of the certificate: chmod o-r"


def _is_for_all(path: str) -> bool:
    """Whether there is such a file, and every user can read it."""
    with suppress(OSError):
        return bool(stat.S_IMODE(os.stat(path).st_mode) & stat.S_IROTH)  # noqa: PTH116 - it comes as text
    return False


def _destination_problems(settings: Settings, document: TomlDocument) -> Iterator[Problem]:
    """The relay's destination is named, and is not ourselves."""
    path = ("relay", "destination")
    if path not in document.places:
        hint = 'for example destination = "graphite.example.com:2003"'
        yield document.value_problem(_RELAY, "the relay is on, but has no destination", hint)
        return
    for own, address in _listeners(settings):
        if _reaches(settings.relay.destination, address):
            message = f"the relay would send to ourselves: [{own[0]}] listens at {address}"
            yield document.value_problem(path, message, "name another destination, or listen at another address")
            return


def _listener_problems(settings: Settings, document: TomlDocument) -> Iterator[Problem]:
    """No two listen at the same address."""
    for (first, one), (second, other) in combinations(_listeners(settings), 2):
        if _collide(one, other):
            message = f"[{second[0]}] would listen at {other}, where [{first[0]}] listens already, at {one}"
            given = second if second in document.places else first
            yield document.value_problem(given, message, "give one of them another port, or turn it off")


def _listeners(settings: Settings) -> list[tuple[Path, Address]]:
    """Who listens for TCP, and where."""
    streams = [(name, one) for name, one in settings.inputs.items() if INPUTS[name].kind is SOCK_STREAM]
    parts: list[tuple[str, InputSettings | CarbonServer]] = [*streams, ("carbonserver", settings.carbonserver)]
    return [((name, "listen"), part.listen) for name, part in parts if part.enabled]


def _collide(one: Address, other: Address) -> bool:
    """Whether both cannot be listened at; port 0 is always a free one."""
    if one.port != other.port or one.port == 0:
        return False
    return one.host in _ANYWHERE or other.host in _ANYWHERE or _same_host(one.host, other.host)


def _reaches(destination: Address, listener: Address) -> bool:
    """Whether what is sent to the destination surely arrives at the listener."""
    if destination.port != listener.port:
        return False
    if listener.host in _ANYWHERE:
        return destination.host in _LOOPBACK or destination.host in _ANYWHERE
    return _same_host(destination.host, listener.host)


def _same_host(one: str, other: str) -> bool:
    return one.lower() == other.lower() or {one.lower(), other.lower()} in ({"localhost", name} for name in _LOOPBACK)
