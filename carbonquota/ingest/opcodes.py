"""What a pickle would do, read before it may do it.

Theory of operation. A pickle is a program for a small machine: one-byte opcodes, each with an argument of known
length. A list of points needs only the opcodes that make numbers, strings, lists and tuples. So the program is walked
from opcode to opcode without being run, and refused where it holds another. The walk also finds what would make a short
pickle take much memory: a memo index past what can have been memoized (the unpickler makes room up to it), and more
objects than a list of points of this length has.

The table of opcodes is Python's own, from `pickletools`, which walks itself, but too slowly for every message.
"""

from __future__ import annotations

from pickletools import (
    TAKEN_FROM_ARGUMENT1,
    TAKEN_FROM_ARGUMENT4,
    TAKEN_FROM_ARGUMENT4U,
    TAKEN_FROM_ARGUMENT8U,
    UP_TO_NEWLINE,
    opcodes,
)
from typing import Final

_PLAIN: Final = (
    "INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT NONE NEWTRUE NEWFALSE "
    "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 "
    "UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 "
    "EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "POP DUP MARK POP_MARK GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE PROTO FRAME STOP"
)
"""The opcodes of numbers, strings, lists, tuples and the memo."""

_HARMLESS: Final = "LONG4 BYTEARRAY8 EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET"
"""Those that run nothing, and that no list of points has. All others name, call or fetch something."""

UNSAFE: Final = "unsafe_pickle"
"""The reason for refusing a pickle that names something to be run, or to be fetched from elsewhere."""

UNREADABLE: Final = "pickle"
"""The reason for refusing what is no pickle, or one of something else than points."""

# What the walk does at an opcode: a positive number is the opcode's length with its argument, which is the usual case.
_STOP: Final = 0
_SHORT_COUNTED: Final = -1
_COUNTED: Final = -2
_LONG_COUNTED: Final = -3
_LINE: Final = -4
_MEMO_LINE: Final = -5
_MEMO_INDEX: Final = -6
_UNSAFE: Final = -7
_UNREADABLE: Final = -8

_BY_ARGUMENT: Final = {
    TAKEN_FROM_ARGUMENT1: _SHORT_COUNTED,
    TAKEN_FROM_ARGUMENT4: _COUNTED,
    TAKEN_FROM_ARGUMENT4U: _COUNTED,
    TAKEN_FROM_ARGUMENT8U: _LONG_COUNTED,
    UP_TO_NEWLINE: _LINE,
}
_BY_NAME: Final = {"STOP": _STOP, "PUT": _MEMO_LINE, "LONG_BINPUT": _MEMO_INDEX}


def _moves() -> list[int]:
    """The walk's move at each byte that an opcode can be."""
    moves = [_UNREADABLE] * 256
    plain, harmless = _PLAIN.split(), _HARMLESS.split()
    for opcode in opcodes:
        if opcode.name in plain:
            length = opcode.arg.n if opcode.arg else 0
            move = _BY_NAME.get(opcode.name, _BY_ARGUMENT.get(length, 1 + length))
        else:
            move = _UNREADABLE if opcode.name in harmless else _UNSAFE
        moves[ord(opcode.code)] = move
    return moves


_MOVES: Final = _moves()


class _OpcodeError(Exception):
    """The pickle must not be run; the argument is the reason."""


def fault(pickled: bytes) -> str | None:
    """Why a pickle must not be run, or None where it makes nothing but numbers, strings, lists and tuples.

    A pickle without fault may still be broken. What it makes takes at most some 40 times its own length.
    """
    try:
        count = _walk(pickled)
    except _OpcodeError as error:
        return str(error)
    except (IndexError, ValueError):
        return UNREADABLE
    # The shortest points, numbers below 256 with a name from the memo, take ten bytes for seven opcodes.
    return UNREADABLE if count * 4 > len(pickled) * 3 + 64 else None


def _walk(pickled: bytes) -> int:
    """How many opcodes there are up to the end; IndexError or ValueError where there is none."""
    position = count = 0
    moves, number = _MOVES, int.from_bytes
    while True:
        move = moves[pickled[position]]
        if move > 0:
            position += move
        elif move == _SHORT_COUNTED:
            position += 2 + pickled[position + 1]
        elif move == _COUNTED:
            position += 5 + number(pickled[position + 1 : position + 5], "little")
        elif move == _MEMO_INDEX:
            _check_memo(number(pickled[position + 1 : position + 5], "little"), count)
            position += 5
        elif move == _STOP:
            return count
        else:
            position = _next(pickled, position, move, count)
        count += 1


def _next(pickled: bytes, position: int, move: int, count: int) -> int:
    """Where the next opcode is, behind one of the rarer kinds; `count` opcodes came before."""
    if move == _LONG_COUNTED:
        return position + 9 + int.from_bytes(pickled[position + 1 : position + 9], "little")
    if move in (_LINE, _MEMO_LINE):
        end = pickled.index(b"\n", position)
        if move == _MEMO_LINE:
            _check_memo(int(pickled[position + 1 : end][:20]), count)
        return end + 1
    raise _OpcodeError(UNSAFE if move == _UNSAFE else UNREADABLE)


def _check_memo(index: int, count: int) -> None:
    """Refuse an index that `count` opcodes cannot have reached: Python's picklers count from 0 or 1."""
    if index > count + 1:
        raise _OpcodeError(UNREADABLE)
