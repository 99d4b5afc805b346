"""The way through the pages of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carbonquota.web.page.site import link


@dataclass(frozen=True, slots=True)
class Paging:
    """Rows `first` to `last` of `total`, and the addresses of the pages around; empty where there is none."""

    first: int
    last: int
    total: int
    before: str
    after: str
    begin: str


def paging_of(path: str, kept: Mapping[str, object], offset: int, limit: int, total: int) -> Paging:
    """The pages around the one that begins at `offset`; `kept` is what else stands in addresses."""
    last = min(offset + limit, total)

    def at(start: int) -> str:
        return link(path, **kept, offset=start or None)

    return Paging(
        first=min(offset + 1, total),
        last=last,
        total=total,
        before=at(max(offset - limit, 0)) if offset else "",
        after=at(offset + limit) if last < total else "",
        begin=at(0) if offset else "",
    )
