"""What stands in an address, taken as far as it makes sense: a slip in it is no error."""

from __future__ import annotations


def choice(given: str | None, choices: tuple[str, ...], otherwise: str | None) -> str | None:
    """One of the choices, or another."""
    return given if given in choices else otherwise


def number(given: str | None, otherwise: int, most: int, least: int = 0) -> int:
    """A whole number in its range, or another one."""
    if given is None or not given.isascii() or not given.isdigit() or len(given) > 19:
        return otherwise
    return min(max(int(given), least), most)
