"""The limiter's counters of a process, compiled and plain, so that one test can ask the same of each."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Final

import pytest

from carbonquota.limiter.charge import Counters
from carbonquota.limiter.reference import PlainCounters
from carbonquota.model import Clock

NATIVE: Final = "carbonquota.limiter.native._cy"
Make = Callable[..., Counters]

HAS_NATIVE: Final = find_spec("carbonquota.kernel._cy") is not None
"""All that is compiled is built together."""
needs_native: Final = pytest.mark.skipif(not HAS_NATIVE, reason="the compiled counters are not built here")


def native(clock: Clock, most: int = 1_000) -> Counters:
    made: Counters = import_module("carbonquota.limiter.native").NativeCounters(clock, most)
    return made


def plain(clock: Clock, most: int = 1_000) -> Counters:
    return PlainCounters(clock, most)


BOTH: Final = [pytest.param(plain, id="plain"), pytest.param(native, id="compiled", marks=needs_native)]
