"""What comes in over the network, on IPv4 and IPv6. Each module that declares an input is found by being in here."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from carbonquota.daemon.inputs.declaration import Input, InputSettings, registered

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

INPUTS: Final[Mapping[str, Input[Any]]] = registered()
"""All inputs by section of the configuration."""

__all__ = ["INPUTS", "Input", "InputSettings", "default_inputs", "sections"]


def default_inputs() -> dict[str, InputSettings]:
    """The settings of all inputs where a file says nothing of them."""
    return {section: one.defaults for section, one in INPUTS.items()}


def sections() -> str:
    """The sections of all inputs, for a message: `[tcp], [udp] and [pickle]`."""
    *others, last = (f"[{section}]" for section in INPUTS)
    return f"{', '.join(others)} and {last}"
