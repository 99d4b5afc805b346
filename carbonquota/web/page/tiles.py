"""The treemap of a namespace's children: tiles with a link, as much of the name as fits, and a tone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from carbonquota.service.usage_documents import Child
from carbonquota.web.page.amounts import share, short_amount_of
from carbonquota.web.page.limits import Pressure, most_pressing
from carbonquota.web.page.treemap import Box, squarify

MOST: Final = 30
"""Tiles of children; the rest is one tile."""

_GAP: Final = 1.0
_LETTER: Final = 7.4
"""The width of a letter, at most, in the units of the frame."""
_LINE: Final = 16.0
_MARGIN: Final = 6.0


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: `namespace` is empty for the rest; `lines` are the texts that fit, each with its baseline."""

    namespace: str
    box: Box
    lines: tuple[tuple[float, str], ...]
    title: str
    tone: str


@dataclass(frozen=True, slots=True)
class Treemap:
    """The tiles in a frame of this size."""

    width: int
    height: int
    tiles: tuple[Tile, ...]


def treemap(children: Sequence[Child], control: str, total: int, size: tuple[int, int]) -> Treemap | None:
    """The tiles of children, largest first, by their amounts of `control`; `total` is that of all. None: no amounts."""
    shown = [child for child in children[:MOST] if getattr(child.usage, control) > 0]
    if not shown:
        return None
    amounts = [getattr(child.usage, control) for child in shown]
    rest = max(total - sum(amounts), 0)
    if rest:
        amounts.append(rest)
    width, height = size
    boxes = [box.inset(_GAP) for box in squarify(amounts, Box(0, 0, width, height))]
    return Treemap(width, height, tuple(_tiles(shown, amounts, boxes, control)))


def _tiles(shown: Sequence[Child], amounts: Sequence[int], boxes: Sequence[Box], control: str) -> Iterator[Tile]:
    for child, amount, box in zip(shown, amounts, boxes, strict=False):
        name = child.namespace.rpartition(".")[2]
        pressure = most_pressing(child.controls)
        yield _tile(child.namespace, name, box, short_amount_of(control, amount), pressure)
    for amount, box in zip(amounts[len(shown) :], boxes[len(shown) :], strict=True):
        yield _tile("", "all others", box, short_amount_of(control, amount), None)


def _tile(namespace: str, name: str, box: Box, amount: str, pressure: Pressure | None) -> Tile:
    texts = [name, amount]
    title = f"{namespace or name}: {amount}"
    tone = "rest" if not namespace else "plain"
    if pressure is not None:
        tone = pressure.tone
        texts.append(share(pressure.percent))
        title += f", {share(pressure.percent)} of its limit on {pressure.control}"
    return Tile(namespace, box, tuple(_fitting(texts, box)), title, tone)


def _fitting(texts: Sequence[str], box: Box) -> Iterator[tuple[float, str]]:
    """The texts that there is room for, one below the other; a name may be cut, an amount is not."""
    letters = int((box.width - 2 * _MARGIN) / _LETTER)
    bottom = box.y + box.height - _MARGIN / 2
    baseline = box.y + _LINE
    for number, text in enumerate(texts):
        if baseline > bottom:
            return
        fits = len(text) <= letters
        if not fits and (number or letters < 3):
            continue
        yield baseline, text if fits else f"{text[: letters - 1]}\N{HORIZONTAL ELLIPSIS}"
        baseline += _LINE
