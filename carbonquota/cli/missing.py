"""What to install where a package is missing that only a part of the program needs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from typing import Final

_EXTRA: Final = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")
_MODULES: Final = {"google-re2": "re2", "prometheus-client": "prometheus_client", "pyyaml": "yaml", "pyzmq": "zmq"}
"""Modules that are not called as their package is."""


def advice(extra: str) -> str:
    """The command that installs what an extra needs and is not there, for the Python that runs."""
    packages = " ".join(f"'{package}'" for package in _missing(extra))
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
        if is_wanted and not needed.startswith("carbonquota") and find_spec(_MODULES.get(name, name)) is None:
            yield needed.strip()
