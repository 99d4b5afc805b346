"""What an input declares of itself: its section of the configuration, what it listens with, and who serves a sender.

The configuration reads and checks the section, the receivers open the sockets and count what goes on, by what stands
here alone: so an input is added by one file beside this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from socket import SocketKind
from typing import Any, Final, Generic, TypeVar

from carbonquota.daemon.inputs.connections import ConnectionPool
from carbonquota.daemon.intake import Intake
from carbonquota.service.values.address import Address
from carbonquota.service.values.kinds import LISTEN, SWITCH, ValueKind


@dataclass(frozen=True, slots=True)
class InputSettings:
    """What every input is told; one with keys of its own has a class of its own, with a field for each."""

    listen: Address
    enabled: bool = True


SettingsT = TypeVar("SettingsT", bound=InputSettings)


@dataclass(frozen=True, slots=True)
class Input(Generic[SettingsT]):
    """One input.

    `section` is its section of the configuration and its name in health; `keys` are read besides `listen` and
    `enabled`. `title` is what the log calls it. `protocol` makes the function that asyncio calls for each connection,
    or once where `kind` is for datagrams; the connections are `Connection`s.
    """

    section: str
    title: str
    kind: SocketKind
    defaults: SettingsT
    protocol: Callable[[SettingsT, Intake, ConnectionPool], Callable[[], asyncio.BaseProtocol]]
    keys: Mapping[str, ValueKind] = field(default_factory=dict)

    @property
    def all_keys(self) -> Mapping[str, ValueKind]:
        """Every key of its section."""
        return {"listen": LISTEN, "enabled": SWITCH, **self.keys}


_REGISTERED: Final[dict[str, Input[Any]]] = {}


def register(declared: Input[SettingsT]) -> Input[SettingsT]:
    """Have the daemon know an input."""
    _REGISTERED[declared.section] = declared
    return declared


def registered() -> dict[str, Input[Any]]:
    """All inputs by section, in the order of their usual ports."""
    order = sorted(_REGISTERED.values(), key=lambda one: (one.defaults.listen.port, one.section))
    return {one.section: one for one in order}
