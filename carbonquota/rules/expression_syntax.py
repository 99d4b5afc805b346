r"""Regular expressions taken apart, as far as it takes to have RE2 read one as Python's `re` does.

Theory of operation. Both engines know the same core: characters, classes, groups, choices, repetitions. What is
written of this core only is written anew for RE2, token by token, so that no difference in spelling is left to chance
(`{,3}`, `\Z`, a brace that repeats nothing). Whatever is not in the table of tokens is *foreign*: look-around,
back-references, atomic groups, verbose mode. Such an expression stays with `re`. Classes such as `\w`, word boundaries
and case mean all of Unicode to Python and ASCII to RE2, which is noted: they are the same for names in ASCII.
No name holds a control character, so a line end within a name needs no care.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ITEM: Final = r"\\(?:[dDwWsS]|x[0-9a-fA-F]{2}|[nrtfv]|\W)|\[(?!:)|[^\[\]\\]"
"""One character of a class, or one range's end."""

_TOKEN: Final = re.compile(
    rf"""
    (?P<escape> \\ (?: [dDwWsSbBAZ] | x[0-9a-fA-F]{{2}} | [nrtfv] | \W ) )
  | (?P<characters> \[ \^? \]? (?: {_ITEM} )* \] )
  | (?P<flags> \( \? [ims]+ \) )
  | (?P<open> \( (?! [?*] ) | \( \? [ims]* : | \( \?P < [A-Za-z_][A-Za-z0-9_]* > )
  | (?P<close> \) )
  | (?P<repeat> (?: [*+?] | \{{ [0-9]+ (?: , [0-9]* )? \}} | \{{ , [0-9]* \}} ) (?: \? | (?! [+] ) ) )
  | (?P<choice> \| )
  | (?P<anchor> [\^$] )
  | (?P<any> \. )
  | (?P<character> [^\\\[(*+?{{] | \{{ (?: (?= \}} ) | (?! [0-9]* ,? [0-9]* \}} ) ) )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)

_FOREIGN: Final = (
    (re.compile(r"\(\?<?[=!]"), "look-around"),
    (re.compile(r"\\[1-9]|\(\?P=\w+\)?"), "a back-reference"),
    (re.compile(r"\(\?>|[*+?}]\+"), "an atomic group or possessive repetition"),
)
_ASCII_ONLY: Final = re.compile(r"\\[dDwWsSbB]", re.ASCII)
_LOOK_AHEAD: Final = frozenset({"$", "\\b", "\\B", "\\Z"})
"""What is found or not by what comes behind it."""
_RENAMED: Final = {"\\Z": "\\z"}
_UNBOUNDED: Final = re.compile(r"[*+]|\{[0-9]*,\}")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an expression, by its offset and width, and what it is called."""

    offset: int
    width: int
    name: str


@dataclass(frozen=True, slots=True)
class Syntax:
    """What an expression is made of.

    `re2` is the same for RE2, None where `foreign` is what it does not know. `ascii_only` says that RE2 answers as
    `re` does for ASCII names only. `prefix` is what each match begins with at the start of the name, "" where that is
    not known. `is_open` says that a name that matches still does with more behind it. `nested` is a repetition without
    end of something that repeats without end itself: an engine that goes back may take a time that doubles with each
    character.
    """

    re2: str | None
    foreign: Span | None
    ascii_only: bool
    prefix: str
    is_open: bool
    nested: Span | None


def token_at(expression: str, at: int) -> re.Match[str] | None:
    """The token that begins there, its kind as `lastgroup`; None where it is foreign, or at the end."""
    return _TOKEN.match(expression, at)


def syntax_of(expression: str) -> Syntax:
    """Take an expression apart that `re` has read."""
    reader = _ExpressionReader(expression)
    reader.run()
    return reader.result()


class _ExpressionReader:
    """Goes through the tokens once."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._re2: list[str] = []
        self._foreign: Span | None = None
        self._ascii_only = False
        self._is_open = True
        self._nested: Span | None = None
        self._groups: list[tuple[int, bool]] = []
        self._closed: tuple[int, bool] | None = None
        self._has_choice = False
        self._prefix: list[str] | None = None
        self._is_prefix_going = False

    def run(self) -> None:
        """Read to the end; behind what is foreign only for what repeats within a repetition."""
        at = 0
        while at < len(self._text):
            found = token_at(self._text, at)
            if found is None:
                at += self._pass_over(_foreign_at(self._text, at))
                continue
            kind, token = found.lastgroup or "", found.group()
            self._follow_prefix(kind, token, at)
            self._follow_groups(kind, token, at)
            self._ascii_only |= bool(_ASCII_ONLY.search(token)) and kind in ("escape", "characters")
            self._ascii_only |= kind in ("flags", "open") and "i" in token.partition("P<")[0]
            self._is_open &= token not in _LOOK_AHEAD
            self._re2.append(_for_re2(kind, token))
            at = found.end()

    def _pass_over(self, span: Span) -> int:
        """Note what is foreign; how many characters that is."""
        self._foreign = self._foreign or span
        self._is_prefix_going = False
        foreign = self._text[span.offset : span.offset + span.width]
        if foreign.startswith("(") and not foreign.endswith(")"):
            self._groups.append((span.offset, False))
        return span.width

    def _follow_prefix(self, kind: str, token: str, at: int) -> None:
        """Gather the characters behind a `^` at the very beginning."""
        if at == 0 and token in ("^", "\\A"):
            self._prefix, self._is_prefix_going = [], True
        elif self._is_prefix_going and self._prefix is not None:
            literal = _literal(kind, token)
            if kind == "repeat" and self._prefix:
                self._prefix.pop()
            self._is_prefix_going = literal is not None
            self._prefix += literal or ""

    def _follow_groups(self, kind: str, token: str, at: int) -> None:
        """Keep track of which groups hold a repetition without end."""
        closed, self._closed = self._closed, None
        if kind == "open":
            self._groups.append((at, False))
        elif kind == "close" and self._groups:
            self._closed = self._groups.pop()
            self._mark(repeats=self._closed[1])
        elif kind == "repeat" and _UNBOUNDED.match(token):
            if closed is not None and closed[1] and self._nested is None:
                self._nested = Span(closed[0], at + len(token) - closed[0], "a repetition within a repetition")
            self._mark(repeats=True)
        elif kind == "choice" and not self._groups:
            self._has_choice = True

    def _mark(self, *, repeats: bool) -> None:
        """The group that is open holds such a repetition."""
        if repeats and self._groups:
            self._groups[-1] = (self._groups[-1][0], True)

    def result(self) -> Syntax:
        """What was found."""
        is_read = self._foreign is None
        has_choice = self._has_choice if is_read else "|" in self._text
        return Syntax(
            re2="".join(self._re2) if is_read else None,
            foreign=self._foreign,
            ascii_only=self._ascii_only,
            prefix="" if has_choice or self._prefix is None else "".join(self._prefix),
            is_open=self._is_open and is_read,
            nested=self._nested,
        )


def _foreign_at(text: str, at: int) -> Span:
    """What stands there, as well as it can be named."""
    for expression, name in _FOREIGN:
        found = expression.match(text, at)
        if found:
            return Span(at, found.end() - at, name)
    return Span(at, min(3 if text.startswith("(?", at) else 2, len(text) - at), "syntax of Python's re alone")


def _literal(kind: str, token: str) -> str | None:
    """The character that a token is, None where it is another thing."""
    if kind == "character":
        return token
    return token[1] if kind == "escape" and not token[1].isalnum() else None


def _for_re2(kind: str, token: str) -> str:
    """A token in RE2's spelling."""
    if kind == "repeat" and token.startswith("{,"):
        return "{0" + token[1:]
    if kind == "characters":
        opening = 2 if token.startswith("[^") else 1
        first = "\\]" if token.startswith("]", opening) and len(token) > opening + 1 else ""
        rest = token[opening + bool(first) : -1]
        return token[:opening] + first + _CLASS_ITEM.sub(_item_for_re2, rest) + "]"
    literal = _literal(kind, token)
    return _RENAMED.get(token, token) if literal is None else _quoted(literal)


_CLASS_ITEM: Final = re.compile(_ITEM, re.DOTALL | re.ASCII)


def _item_for_re2(found: re.Match[str]) -> str:
    item = found.group()
    if item == "[":
        return "\\["
    return _quoted(item[1]) if len(item) == 2 and not item[1].isalnum() else item


def _quoted(character: str) -> str:
    """A character that stands for itself."""
    return f"\\{character}" if character.isascii() and not (character.isalnum() or character in " _") else character
