"""ETags: the number of the change that made a thing what it is, and what `If-Match` and `If-None-Match` ask for."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, Header

from carbonquota.hub.domain.errors import InvalidError

_ETAG: Final = re.compile(r'"(\d{1,18})"')


def etag(change: int) -> str:
    """The ETag of a version."""
    return f'"{change}"'


def expected(
    if_match: Annotated[
        str | None, Header(description='The ETag that was seen, such as "17": 412 if it is not so')
    ] = None,
    if_none_match: Annotated[str | None, Header(description="* for: only if there is none yet")] = None,
) -> int | None:
    """Which version has to be there: None is any or none, 0 is none."""
    if if_none_match is not None:
        if if_none_match != "*" or if_match is not None:
            raise InvalidError("If-None-Match: only * is known here, and not together with If-Match")
        return 0
    if if_match is None:
        return None
    match = _ETAG.fullmatch(if_match)
    if match is None:
        raise InvalidError(f'If-Match: {if_match[:60]!r} is no ETag of this service, such as "17"')
    return int(match[1])


Expected = Annotated[int | None, Depends(expected)]
