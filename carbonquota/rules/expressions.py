r"""One regular expression of a file, and the engine that reads it: RE2 in linear time, or Python's `re`.

RE2 reads an expression where its answers are those of `re`, and what `re` refuses but go-carbon's engine takes
(`\pL`, `\z`, `[[:alpha:]]`). Look-around that is tied to one place of a name becomes conditions, which RE2 reads, too.
Only `re` reads other look-around and back-references; it goes back and forth in a name, which may take longer than
anybody waits. Without google-re2 everything is read by `re`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from carbonquota.rules.expression_syntax import Span, Syntax, syntax_of
from carbonquota.rules.look_around import take_apart

try:
    import re2
except ImportError:  # a library without extras does without
    re2 = None

HAS_RE2: Final = re2 is not None
"""Whether google-re2 is installed."""

WITHOUT_RE2: Final = "google-re2 is not installed: all patterns are matched by Python's re"

_POSIX_CLASS: Final = re.compile(r"\[\[\^?:\^?[a-z]+:\]|\[[^\]]*\[:\^?[a-z]+:\]")
_MEMORY: Final = 64 << 20
"""Bytes that RE2 may use for one automaton at most."""


class ExpressionEngine(Enum):
    """What reads an expression; the value is its name in messages."""

    RE2 = "RE2"
    RE = "Python's re"


class ExpressionError(ValueError):
    """No regular expression to either engine: `offset` is where, None for the whole."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression as it is written, and as its engines read it.

    `re` is None for what only Go and RE2 know. `syntax` is None with it. `conditions` are what else RE2 must find in a
    name, or (False) must not, as it reads the expression without its look-around.
    """

    text: str
    re: re.Pattern[str] | None
    syntax: Syntax | None
    _re2: Any = field(default=None, repr=False, compare=False)
    conditions: tuple[tuple[Any, bool], ...] = field(default=(), repr=False, compare=False)

    @property
    def engine(self) -> ExpressionEngine:
        """What reads it where a name is ASCII; see `is_for_re2`."""
        return ExpressionEngine.RE if self._re2 is None else ExpressionEngine.RE2

    @property
    def re2_text(self) -> str | None:
        """It, in RE2's spelling and without the conditions; None where RE2 does not read it."""
        return None if self._re2 is None else self._re2.pattern

    @property
    def prefix(self) -> str:
        """What a name begins with in which it is found; "" where that is not known."""
        return "" if self.syntax is None else self.syntax.prefix

    @property
    def costly(self) -> Span | None:
        """The part for which `re` may need very long, where it is `re` that reads it."""
        if self._re2 is not None or self.syntax is None:
            return None
        whole = Span(0, len(self.text), "an expression that RE2 does not take")
        return self.syntax.nested or self.syntax.foreign or whole

    def is_for_re2(self, name: str) -> bool:
        """Whether RE2 may answer for the name: it does where `re` would say the same."""
        return self._re2 is not None and (self.syntax is None or not self.syntax.ascii_only or name.isascii())

    def search(self, name: str) -> bool:
        """Whether it is found in the name; by whichever engine reads it, right here."""
        if self.is_for_re2(name):
            return self.found_by_re2(encoded(name))
        return self.re is not None and self.re.search(name) is not None

    def found_by_re2(self, name: bytes) -> bool:
        """Whether RE2, which must read it, finds it in a name in UTF-8."""
        return self._re2.search(name) is not None and self.meets_conditions(name)

    def meets_conditions(self, name: bytes) -> bool:
        """Whether a name in UTF-8 in which RE2 finds it meets the conditions, too."""
        return all((found.search(name) is not None) is wanted for found, wanted in self.conditions)


Search = Callable[[re.Pattern[str], Sequence[str]], Sequence[bool]]
"""Tells of each name whether the pattern is found in it: by `re`, in whatever place can afford to wait for that."""


def search_here(pattern: re.Pattern[str], names: Sequence[str]) -> Sequence[bool]:
    """Search on the caller's own thread, for as long as it takes."""
    return [pattern.search(name) is not None for name in names]


def read_expression(text: str, *, as_python: bool = False) -> Expression:
    """Read an expression; ExpressionError where it is none.

    `as_python` is for a host whose own engine is `re`: what `re` refuses is refused, and means what `re` takes it for.
    """
    posix = None if as_python else _POSIX_CLASS.search(text)
    if posix:
        # To `re` it is a set of a colon and some letters, which nobody means.
        message = "no such class of characters" if HAS_RE2 else "only google-re2 reads such a class; install it"
        return _of_go(text, ExpressionError(message, posix.start()))
    try:
        pattern = _compiled(text)
    except re.error as error:
        refused = ExpressionError(error.msg, error.pos or 0)
        if as_python:
            raise refused from None
        return _of_go(text, refused)
    except (OverflowError, RecursionError):
        raise ExpressionError("too large an expression") from None
    syntax = syntax_of(text)
    if syntax.foreign is not None and (found := _with_conditions(text, pattern, syntax.nested)) is not None:
        return found
    return Expression(text, pattern, syntax, _re2_of(syntax.re2))


def _with_conditions(text: str, pattern: re.Pattern[str], nested: Span | None) -> Expression | None:
    """An expression whose look-around is read as conditions; None where RE2 cannot have it so."""
    taken = take_apart(text)
    if taken is None:
        return None
    whole, *asked = (syntax_of(part) for part in (taken.text, *(one.text for one in taken.conditions)))
    body, conditions = _re2_of(whole.re2), [_re2_of(one.re2) for one in asked]
    if body is None or None in conditions:
        return None
    ascii_only = any(one.ascii_only for one in (whole, *asked))
    syntax = replace(whole, ascii_only=ascii_only, is_open=False, nested=nested)
    wanted = (one.wanted for one in taken.conditions)
    return Expression(text, pattern, syntax, body, tuple(zip(conditions, wanted, strict=True)))


def _compiled(text: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        # What some future Python may read in "[[" is not for the operator's terminal.
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile(text)


def _of_go(text: str, refused: ExpressionError) -> Expression:
    """An expression that only RE2 reads; else what was said of it."""
    # One byte of a character: Go does not have it either.
    found = None if re.search(r"(?<!\\)(\\\\)*\\C", text) else _re2_of(text)
    if found is None:
        raise refused
    return Expression(text, None, None, found)


def _re2_of(text: str | None) -> Any:  # noqa: ANN401 - google-re2 has no types
    """RE2's pattern, None where it does not take it or is not there."""
    if re2 is None or text is None:
        return None
    try:
        return re2.compile(encoded(text), quiet())
    except (re2.error, UnicodeEncodeError):
        return None


def quiet() -> Any:  # noqa: ANN401 - google-re2 has no types
    """Options by which RE2 writes nothing to standard error."""
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    options.never_capture = True
    return options


def encoded(name: str) -> bytes:
    """The bytes of a name, also of one that UTF-8 has none for."""
    return name.encode("utf-8", "surrogatepass")
