"""What an answer says in headers, the same in all faces.

`RateLimit` and `RateLimit-Policy` are those of the IETF's draft (draft-ietf-httpapi-ratelimit-headers, from its 8th
version on): a list of policies, each with its quota and window, and of what is left of them. `X-RateLimit-*` are the
older ones that Envoy writes, of the tightest limit alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Final

from carbonquota.limiter.model import Answer, Status

Header = tuple[str, str]

VERDICT: Final = "x-ratelimit-verdict"
"""What the edge should do with a request that is refused: "limit" or "challenge"."""

_MOST_POLICIES: Final = 8
_UNFIT: Final = re.compile(r'[^ -~]|["\\]')
"""What may not stand in a structured field's text as it is."""


@dataclass(frozen=True, slots=True)
class HeaderStyle:
    """Which headers are written."""

    ietf: bool = True
    x_ratelimit: bool = False


def answer_headers(answer: Answer, style: HeaderStyle) -> list[Header]:
    """The headers of an answer, names in small letters; Retry-After where it refuses and waiting helps."""
    headers: list[Header] = []
    limited = [status for status in answer.statuses if status.limit is not None]
    if limited and style.ietf:
        headers += _ietf(limited)
    if style.x_ratelimit and (tightest := answer.tightest) is not None:
        headers += _x_ratelimit(tightest)
    if not answer.allowed:
        if (wait := answer.retry_after) is not None:
            headers.append(("retry-after", str(max(ceil(wait), 1))))
        headers.append((VERDICT, "challenge" if answer.challenge else "limit"))
    return headers


def _ietf(limited: Sequence[Status]) -> list[Header]:
    policies, left = [], []
    for status in limited[:_MOST_POLICIES]:
        if (limit := status.limit) is not None:
            name, policy = _policy(limit.name or status.rule or "default", limit.requests, limit.seconds)
            policies.append(policy)
            left.append(f"{name};r={max(status.remaining, 0)};t={ceil(status.reset)}")
    return [("ratelimit-policy", ", ".join(policies)), ("ratelimit", ", ".join(left))]


@lru_cache(4_096)
def _policy(name: str, requests: int, seconds: int) -> tuple[str, str]:
    """A policy's name as a structured field's text, and what it grants."""
    name = _quoted(name)
    return name, f"{name};q={requests};w={seconds}"


def _x_ratelimit(status: Status) -> list[Header]:
    limit = status.limit
    if limit is None:
        return []
    name = _quoted(limit.name or status.rule or "default")
    return [
        ("x-ratelimit-limit", f"{limit.requests}, {limit.requests};w={limit.seconds};name={name}"),
        ("x-ratelimit-remaining", str(max(status.remaining, 0))),
        ("x-ratelimit-reset", str(ceil(status.reset))),
    ]


def _quoted(name: str) -> str:
    """A name as a structured field's text: no client ends a header by what it sends."""
    return f'"{_UNFIT.sub("?", name) if _UNFIT.search(name) else name}"'
