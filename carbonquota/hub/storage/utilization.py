"""The last known usage, in blocks of 256 customers: one row has what a provider knows of them for one control.

A provider tells of its customers all together, again and again. As rows of their own that would be millions of writes a
minute; as blocks it is some thousands, and a server that starts reads all of them in a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, select

from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.usages import Usages
from carbonquota.hub.storage.tables import utilization
from carbonquota.hub.storage.upsert import stretches, upsert

BLOCK: Final = 256
"""Customers of a block."""

_AT_ONCE: Final = 2_000
"""Blocks read in one statement."""

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]


def write_usages(connection: Connection, usages: Usages, change: int) -> None:
    """Take what is newer than what is stored. A customer stands once in the usages."""
    blocks, positions = np.unique(usages.customers // BLOCK, return_inverse=True)
    amounts, times = _read_blocks(connection, usages.provider, usages.control, blocks)
    at = positions, usages.customers % BLOCK
    newer = usages.times >= times[at]
    at = at[0][newer], at[1][newer]
    amounts[at], times[at] = usages.amounts[newer], usages.times[newer]
    changed = np.unique(at[0]).tolist()
    place = {"provider": usages.provider, "control": usages.control, "change": change}
    rows = [
        place | {"block": int(blocks[one]), "amounts": amounts[one].tobytes(), "times": times[one].tobytes()}
        for one in changed
    ]
    upsert(connection, utilization, rows)


def _read_blocks(connection: Connection, provider: int, control: int, blocks: Numbers) -> tuple[Numbers, Times]:
    """Amounts and times of these blocks, a row each, locked; zeros where there are none yet."""
    amounts, times = np.zeros((len(blocks), BLOCK), np.int64), np.zeros((len(blocks), BLOCK), np.float64)
    position = {block: number for number, block in enumerate(blocks.tolist())}
    columns = utilization.c
    for some in stretches(blocks.tolist(), _AT_ONCE):
        statement = (
            select(columns.block, columns.amounts, columns.times)
            .where(columns.provider == provider, columns.control == control, columns.block.in_(some))
            .order_by(columns.block)
            .with_for_update()
        )
        for block, packed_amounts, packed_times in connection.execute(statement):
            amounts[position[block]] = np.frombuffer(packed_amounts, np.int64)
            times[position[block]] = np.frombuffer(packed_times, np.float64)
    return amounts, times


def known_customers(connection: Connection, provider: int, control: int) -> Numbers:
    """The ids of all customers of whom a provider has told something."""
    columns = utilization.c
    statement = select(columns.block, columns.times).where(columns.provider == provider, columns.control == control)
    found = [
        np.flatnonzero(np.frombuffer(packed, np.float64)) + block * BLOCK
        for block, packed in connection.execute(statement)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def changed_usages(connection: Connection, since: int, first: int = 0) -> Iterator[tuple[Usages, int]]:
    """What was changed after `since`, a block at a time, with the number of its change; of ids from `first` on."""
    statement = select(utilization).where(utilization.c.change > since)
    yield from _usages(connection, statement.where(utilization.c.block >= first // BLOCK) if first else statement)


def usages_of(connection: Connection, providers: Sequence[int], ids: Sequence[int]) -> Iterator[tuple[Usages, int]]:
    """What these providers know of these customers, and of those that share a block with them."""
    columns = utilization.c
    for some in stretches(sorted({one // BLOCK for one in ids}), _AT_ONCE):
        for where in stretches(providers):
            # Named one by one, as that is the order of the primary key.
            place = columns.provider.in_(where), columns.control.in_(range(len(CONTROLS))), columns.block.in_(some)
            yield from _usages(connection, select(utilization).where(*place))


def _usages(connection: Connection, statement: Select[Any]) -> Iterator[tuple[Usages, int]]:
    result = connection.execute(statement.execution_options(yield_per=_AT_ONCE))
    for provider, control, block, packed_amounts, packed_times, change in result:
        times = np.frombuffer(packed_times, np.float64)
        known = np.flatnonzero(times)
        amounts = np.frombuffer(packed_amounts, np.int64)[known]
        yield Usages(provider, control, known + block * BLOCK, amounts, times[known]), change
