"""What to install where a package is missing that only a part of the program needs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from typing import Any, Final

from carbonquota.errors import InputError

_EXTRA: Final = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")
_NESTED: Final = re.compile(r"\[([^\]]*)\]")
_MODULES: Final = {
    "google-re2": "re2",
    "grpcio": "grpc",
    "prometheus-client": "prometheus_client",
    "protobuf": "google.protobuf",
    "pyjwt": "jwt",
    "pyyaml": "yaml",
    "pyzmq": "zmq",
    "xds-protos": "envoy.service",
}
"""Modules that are not called as their package is."""


def part(module: str, what: str, extra: str) -> Any:  # noqa: ANN401 - a module
    """A module of a part of the program, which needs packages that the library alone does not.

    InputError where one is missing: `what` needs it, and it comes with `extra`.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("carbonquota"):
            raise
        raise InputError(f"{what} needs the package {error.name}, which is not installed: {advice(extra)}") from None


def advice(extra: str) -> str:
    """The command that installs what an extra needs and is not there, for the Python that runs."""
    packages = " ".join(f"'{package}'" for package in dict.fromkeys(_missing(extra)))
    return f"{sys.executable} -m pip install {packages}" if packages else f"install carbonquota with its extra {extra}"


def _missing(extra: str) -> Iterator[str]:
    """The requirements of an extra whose module is not found."""
    try:
        all_of_them = requires("carbonquota") or []
    except PackageNotFoundError:
        return
    for requirement in all_of_them:
        needed, _, condition = requirement.partition(";")
        name = re.split(r"[^\w.-]", needed.strip())[0]
        is_wanted = extra in _EXTRA.findall(condition)
        if is_wanted and name == "carbonquota":
            for others in _NESTED.findall(needed):
                for other in others.split(","):
                    yield from _missing(other.strip())
        elif is_wanted and not _is_there(_MODULES.get(name, name)):
            yield needed.strip()


def _is_there(module: str) -> bool:
    """Whether a module can be imported, as far as its place tells."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
