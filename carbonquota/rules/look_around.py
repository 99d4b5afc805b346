r"""Look-around taken out of an expression, so that RE2 can read it, and made into conditions.

Theory of operation. An expression says that a metric does not begin with something far more often than anything else
that RE2 does not know: `^(?!carbon\.).*\.count$`, `^servers\.[^.]+\.(?!test)`, `.*(?<!\.sum)$`. There the look-around
stands where only one place of a name can be: behind `^` and what can match in one way only, or before the last `$`.
Then it is a condition of its own, with the same `^` or `$`: in the first, `^(?:carbon\.)` must not be found, and
`^.*\.count$` must. A name holds no line end, so there is one such place whatever the flags are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from carbonquota.rules.expression_syntax import token_at

_FLAGS: Final = re.compile(r"\(\?[ims]+\)")
_ANCHOR: Final = re.compile(r"\^|\\A")
_AHEAD: Final = re.compile(r"\(\?([=!])")
_BEHIND: Final = re.compile(r"\(\?<([=!])")
_ONE_PART: Final = re.compile(r"\[\^\\?\.\][*+]\??\\\.")
"""A part of a name up to its dot: `[^.]+\\.` ends at the next dot and nowhere else."""
_SINGLE: Final = frozenset({"character", "characters", "escape", "any"})
"""Tokens that match in one way at a place."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression that must be found in a name, or must not."""

    text: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class TakenApart:
    """An expression without its look-around, and what that asked for."""

    text: str
    conditions: tuple[Condition, ...]


def take_apart(expression: str) -> TakenApart | None:
    """The expression, which `re` has read, without look-around; None where it has none, or not at such places only."""
    taker = _Taker(expression)
    return taker.taken() if "(?" in expression and taker.run() else None


class _Taker:
    """Goes through an expression once."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        flags = _FLAGS.match(expression)
        self._flags = flags.group() if flags else ""
        self._at = len(self._flags)
        anchor = _ANCHOR.match(expression, self._at)
        self._is_fixed = anchor is not None
        self._body: list[str] = []
        self._conditions: list[Condition] = []
        self._behind: list[Condition] = []
        self._depth = 0

    def run(self) -> bool:
        """Go to the end; whether all look-around could be taken out."""
        while self._at < len(self._text):
            if not (self._take_look_around() or self._take_token()):
                return False
        return True

    def taken(self) -> TakenApart | None:
        """What there was; None where nothing was taken out, or what looks behind has no `$` behind it."""
        if self._behind and (not self._body or self._body[-1] not in ("$", "\\Z")):
            return None
        conditions = (*self._conditions, *self._behind)
        return TakenApart(self._flags + "".join(self._body), conditions) if conditions else None

    def _take_look_around(self) -> bool:
        """Take out what looks ahead or behind here, if it may be."""
        text, start = self._text, self._at
        if self._depth or not (found := _AHEAD.match(text, start) or _BEHIND.match(text, start)):
            return False
        end = _end_of_group(text, found.end())
        is_ahead = found.re is _AHEAD
        if end is None or _repeats(text, end) or (is_ahead and not self._is_fixed):
            return False
        inner, wanted = f"(?:{text[found.end() : end - 1]})", found[1] == "="
        if is_ahead:
            self._conditions.append(Condition(self._flags + "".join(self._body) + inner, wanted))
        else:
            self._behind.append(Condition(self._flags + inner + "$", wanted))
        self._at = end
        return True

    def _take_token(self) -> bool:
        """Go past what is no look-around, if RE2 can read it."""
        part = _ONE_PART.match(self._text, self._at)
        if part and self._is_fixed and not _repeats(self._text, part.end()):
            return self._go_past(part.group())
        token = token_at(self._text, self._at)
        if token is None or (token.lastgroup == "choice" and not self._depth):
            return False
        kind = token.lastgroup or ""
        self._depth += (kind == "open") - (kind == "close")
        is_anchor = not self._body and kind == "anchor"
        self._is_fixed &= is_anchor or (kind in _SINGLE and not _repeats(self._text, token.end()))
        return self._go_past(token.group())

    def _go_past(self, passed: str) -> bool:
        """Go past it; behind what looks behind, only the last `$` may come."""
        self._body.append(passed)
        self._at += len(passed)
        return not self._behind or (passed in ("$", "\\Z") and self._at == len(self._text))


def _repeats(text: str, at: int) -> bool:
    """Whether what ends there is repeated."""
    token = token_at(text, at)
    return text[at : at + 1] in ("*", "+", "?", "{") and (token is None or token.lastgroup == "repeat")


def _end_of_group(text: str, at: int) -> int | None:
    """Where the group ends whose inside begins there; None where RE2 could not read it."""
    depth = 1
    while depth:
        token = token_at(text, at)
        if token is None:
            return None
        depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        at = token.end()
    return at
