"""Tokens in a file, for a service that has no database: a line each, with the hash in the token's place.

    3f0c91d2a7be  operator  -         2027-01-31  sha256:<64 digits>  grafana

A line has the token's id, its role, whose it is (`-` for nobody's own), the day after which it is no longer good
(`never`: none), the hash, and a name. Lines that begin with `#` are comments. The file is read again when it changes,
so that a line taken out revokes its token.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from math import inf, isinf
from pathlib import Path
from threading import Lock
from typing import Final

from carbonquota.errors import ConfigError, InputError, Problem, QuotaError
from carbonquota.rules.files import read_text
from carbonquota.service.health import HealthSample
from carbonquota.web.access import Role
from carbonquota.web.authentication import AuthenticationUnavailable
from carbonquota.web.tokens import TokenRecord

_EVERY: Final = 1.0
"""Seconds between two looks at the file."""
_NEVER: Final = "never"
_NOBODY: Final = "-"
_LINE: Final = re.compile(r"(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S.*?)\s*")
_FORM: Final = "a line is: id role whose-or-dash last-day-or-never sha256:digits name"
_DAY: Final = 86_400.0


class TokenFile:
    """The tokens of one file. From any thread."""

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        """Read it now; ConfigError with all that is wrong. `clock` gives seconds that never go back."""
        self._path = path
        self._clock = clock
        self._lock = Lock()
        self._looked = clock()
        self._signature = _signature(path)
        self._tokens = read_token_file(path)
        self._trouble = ""

    def find(self, number: str) -> TokenRecord | None:
        """The token of an id; AuthenticationUnavailable where the file was spoiled meanwhile."""
        with self._lock:
            self._look()
            if self._trouble:
                raise AuthenticationUnavailable(self._trouble)
            return self._tokens.get(number)

    @staticmethod
    def health() -> Iterator[HealthSample]:
        """No values of its own."""
        return iter(())

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why no token is taken now, in a line."""
        with self._lock:
            self._look()
            return (self._trouble,) if self._trouble else ()

    def _look(self) -> None:
        """Read the file again where it has changed."""
        now = self._clock()
        if now - self._looked < _EVERY:
            return
        self._looked = now
        signature = _signature(self._path)
        if signature == self._signature and not self._trouble:
            return
        self._signature = signature
        try:
            self._tokens, self._trouble = read_token_file(self._path), ""
        except QuotaError as error:
            self._trouble = str(error).partition("\n")[0]


def _signature(path: str) -> tuple[int, ...]:
    with suppress(OSError):
        found = Path(path).stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return ()


def read_token_file(path: str) -> dict[str, TokenRecord]:
    """All tokens by id; ConfigError with everything that is wrong, each with its place."""
    tokens: dict[str, TokenRecord] = {}
    problems: list[Problem] = []
    for number, line in enumerate(read_text(path, again=True).split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            token = _read_line(line.strip(), tokens)
            tokens[token.id] = token
        except QuotaError as error:
            # The line itself is not shown: what stands in it may be a token.
            problems.append(Problem(path, number, 1, 1, "", str(error), _FORM))
    if problems:
        raise ConfigError(problems)
    return tokens


def _read_line(line: str, others: Container[str]) -> TokenRecord:
    match = _LINE.fullmatch(line)
    if match is None:
        raise QuotaError("this line has not six parts")
    number, role, subject, last_day, digest, name = match.groups()
    if re.fullmatch(r"[0-9a-f]{12}", number) is None:
        raise QuotaError("the first part is no id of a token, 12 digits from 0 to f")
    if number in others:
        raise QuotaError(f"the token {number} stands twice")
    if role not in tuple(Role):
        raise QuotaError(f'"{role}" is no role: these are {", ".join(Role)}')
    if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is None:
        raise QuotaError('the fifth part is no hash, "sha256:" and 64 digits from 0 to f')
    whose = "" if subject == _NOBODY else subject
    return TokenRecord(number, name, Role(role), whose, digest.removeprefix("sha256:"), expires=_read_day(last_day))


def _read_day(text: str) -> float:
    """The end of the day, in seconds since the epoch."""
    if text == _NEVER:
        return inf
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() + _DAY
    except ValueError:
        raise QuotaError(f'"{text}" is neither a day such as 2027-01-31 nor "{_NEVER}"') from None


def line_of(token: TokenRecord) -> str:
    """A token's line; it is good until the end of the day that it expires on."""
    last = _NEVER if isinf(token.expires) else datetime.fromtimestamp(token.expires, UTC).strftime("%Y-%m-%d")
    return f"{token.id}  {token.role}  {token.subject or _NOBODY}  {last}  sha256:{token.hash}  {token.name}"


def append_token(path: str, token: TokenRecord) -> None:
    """Write a token's line to the end of a file, which is made for its user alone; InputError where it cannot be."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
            gap = b"\n" if end and file.read(1) != b"\n" else b""
            file.write(gap + line_of(token).encode() + b"\n")
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(
            f"{Path(path)}: the token cannot be written: {(error.strerror or str(error)).lower()}"
        ) from None


def remove_token(path: str, number: str) -> bool:
    """Take a token's line out of a file, in one step; whether there was one. ConfigError, or InputError, as above."""
    if number not in read_token_file(path):
        return False
    lines = read_text(path, again=True).split("\n")
    kept = [line for line in lines if line.split(None, 1)[:1] != [number]]
    beside = Path(f"{path}.new")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, Path(path).stat().st_mode & 0o777), "w"
        ) as file:
            file.write("\n".join(kept))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path}: it cannot be written: {(error.strerror or str(error)).lower()}") from None
    return True
