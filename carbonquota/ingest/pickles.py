"""Carbon's pickle protocol: messages behind their length, each a pickled list of points.

Theory of operation. A message is `[(name, (timestamp, value)), ...]` in any of pickle's protocols, also as Python 2
wrote them. Each is walked through first (`carbonquota.ingest.opcodes`), so that only what makes numbers, strings,
lists and tuples is unpickled at all; should the walk ever miss something, the unpickler still refuses to find any
class. What comes out is looked at by exact type, no deeper than a point goes, as a pickle may share one object a
million times. Points stay names and numbers, and are decided so; only a relay makes lines of them.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from reprlib import Repr
from typing import Final, NoReturn

from carbonquota.ingest.frames import SAMPLE, Refuse
from carbonquota.ingest.opcodes import UNREADABLE, UNSAFE, fault
from carbonquota.kernel import Number, PointList
from carbonquota.metric_name import LONGEST

_HEADER: Final = 4
"""Bytes of a message's length, the highest first."""

_NO_NAME: Final = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]")
"""What a name on a line cannot hold: blanks, control characters, halves of surrogate pairs."""

_LARGEST: Final = 2**64
"""Integers from here on are written as floats: making text of a long one takes the square of its length."""

_EXPANSION: Final = 32
"""How many times longer than their pickle the lines of points may be; names that repeat are in it only once."""

_NUMBERS: Final = 24
"""Bytes that the numbers of a point take on a line, about."""

_SHORTEST_POINT: Final = 5
"""Bytes that a point takes at least in a pickle: two from the memo made into one that is no repetition itself."""

_AMPLE: Final = 65536
"""Bytes of lines that any pickle may come to."""

_shown: Final = Repr()
_shown.maxlevel = 3
_shown.maxstring = _shown.maxother = SAMPLE // 2


class PickleAssembler:
    """Makes whole messages out of the chunks of one connection."""

    def __init__(self, refuse: Refuse, max_message_size: int) -> None:
        """Tell `refuse` of a message cut off (`unfinished`), and of a length past the bound, or 0 (`length`)."""
        self._refuse = refuse
        self._bound = max_message_size
        self._rest = bytearray()
        self.broken = False

    @property
    def unfinished(self) -> bool:
        """Whether a message has begun that has not ended."""
        return bool(self._rest)

    @property
    def held(self) -> int:
        """Bytes kept for the message that has begun."""
        return len(self._rest)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The messages that are whole with this chunk, without their lengths.

        After a length that cannot be, `broken` is true, and nothing that follows means anything.
        """
        if self.broken:
            return []
        rest, messages, position = self._rest, [], 0
        rest += chunk
        with memoryview(rest) as view:
            while len(view) - position >= _HEADER:
                size = int.from_bytes(view[position : position + _HEADER], "big")
                if not 0 < size <= self._bound:
                    self.broken = True
                    break
                end = position + _HEADER + size
                if end > len(view):
                    break
                messages.append(bytes(view[position + _HEADER : end]))
                position = end
        del rest[:position]
        if self.broken:
            self._refuse("length", bytes(rest[:SAMPLE]))
            rest.clear()
        return messages

    def close(self) -> None:
        """The stream is at its end: a message that is not whole is refused."""
        if self._rest:
            self._refuse("unfinished", bytes(self._rest[:SAMPLE]))
        self._rest.clear()


@dataclass(frozen=True, slots=True)
class Pickled:
    """What a message came to: its points; what was malformed, by reason, and the first of each."""

    points: PointList = field(default_factory=lambda: PointList([], [], []))
    malformed: dict[str, int] = field(default_factory=dict)
    samples: dict[str, bytes] = field(default_factory=dict)


class _BadPointError(Exception):
    """Something is no point; the argument is the reason."""


class _UnsafePickleError(Exception):
    """A pickle asks for something to be run or fetched; the arguments are what it names."""


class _Unpickler(pickle.Unpickler):
    """Makes what needs no class, and finds none."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        """Refuse: a class or function that a pickle names may be any."""
        raise _UnsafePickleError(module_name, global_name)

    def persistent_load(self, pid: object) -> NoReturn:
        """Refuse: there is nothing stored elsewhere."""
        raise _UnsafePickleError(pid)


def read_pickle(message: bytes) -> Pickled:
    """The points of one message; of one that cannot be read, or must not, the reason (`pickle`, `unsafe_pickle`).

    Of the points, one with a name that no line can hold is malformed as `name`, one that is anything else than
    name, timestamp and value as `pickle_point`.
    """
    points: object = None
    reason = fault(message)
    if reason is None:
        try:
            points = _Unpickler(BytesIO(message), encoding="bytes").load()
        except _UnsafePickleError:
            reason = UNSAFE
        except Exception:  # noqa: BLE001 - bytes from anywhere make the unpickler raise anything
            reason = UNREADABLE
    if reason is None and isinstance(points, list | tuple):
        return _read_points(points, len(message))
    reason = reason or UNREADABLE
    return Pickled(malformed={reason: 1}, samples={reason: message[:SAMPLE]})


def _read_points(points: Sequence[object], size: int) -> Pickled:
    """The points of a message of `size` bytes; more than can be in as many bytes are refused."""
    names: list[str] = []
    timestamps: list[Number] = []
    values: list[Number] = []
    malformed: dict[str, int] = {}
    samples: dict[str, bytes] = {}
    room = _AMPLE + _EXPANSION * size
    if len(points) * _SHORTEST_POINT > size + SAMPLE:
        room = 0
    for position, point in enumerate(points):
        try:
            name, timestamp, value = _read_point(point)
        except _BadPointError as error:
            reason = str(error)
            malformed[reason] = malformed.get(reason, 0) + 1
            if reason not in samples:
                samples[reason] = _shown.repr(point)[:SAMPLE].encode(errors="replace")
            continue
        room -= len(name) + _NUMBERS
        if room < 0:
            malformed["pickle_point"] = malformed.get("pickle_point", 0) + len(points) - position
            samples.setdefault("pickle_point", b"too many repetitions")
            break
        names.append(name)
        timestamps.append(timestamp)
        values.append(value)
    return Pickled(PointList(names, timestamps, values), malformed, samples)


def _read_point(point: object) -> tuple[str, Number, Number]:
    """Name, timestamp and value."""
    name, measurement = _pair(point)
    timestamp, value = _pair(measurement)
    return _name(name), _timestamp(timestamp), _number(value)


def _timestamp(timestamp: object) -> Number:
    """The number of a timestamp, a whole one as such."""
    if timestamp.__class__ is float and timestamp.is_integer():
        return int(timestamp)
    return _number(timestamp)


def _pair(thing: object) -> tuple[object, object]:
    """Both elements of a tuple or list of two."""
    if (thing.__class__ is tuple or thing.__class__ is list) and len(thing) == 2:
        return thing[0], thing[1]
    raise _BadPointError("pickle_point")


def _name(name: object) -> str:
    """The name, which Python 2 wrote as bytes."""
    if name.__class__ is bytes:
        try:
            name = name.decode()
        except UnicodeDecodeError:
            raise _BadPointError("name") from None
    if not isinstance(name, str):
        raise _BadPointError("pickle_point")
    if not 0 < len(name) <= LONGEST or ((" " in name or not name.isprintable()) and _NO_NAME.search(name)):
        raise _BadPointError("name")
    return name


def _number(number: object) -> Number:
    """The number as a line has it; like carbon, also from text that is one."""
    if number.__class__ is float or (number.__class__ is int and -_LARGEST < number < _LARGEST):
        return number
    return _integer(number) if isinstance(number, int) else _number_of_text(number)


def _integer(number: int) -> Number:
    """The number that any other integer is to carbon, which makes a float of a large one; True is 1."""
    if -_LARGEST < number < _LARGEST:
        return int(number)
    try:
        return float(number)
    except OverflowError:
        raise _BadPointError("pickle_point") from None


def _number_of_text(number: object) -> Number:
    """The number that a text or bytes are, as they write it."""
    text = number.decode("latin-1") if isinstance(number, bytes) else number
    if not isinstance(text, str) or len(text) > SAMPLE or not text.isascii() or "_" in text:
        raise _BadPointError("pickle_point")
    try:
        float(text)
    except ValueError:
        raise _BadPointError("pickle_point") from None
    return text.strip()
