"""What people write into forms: amounts with units, whole numbers, texts; InvalidError says which field, and how."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from carbonquota.hub.domain.controls import CONTROLS, Amounts
from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.values import Actor
from carbonquota.hub.pages.forms import Form
from carbonquota.model import MAXIMUM
from carbonquota.web.access import Identity

WHY: Final = 1000
"""Characters of a reason."""
ABOUT: Final = 4000
"""Characters that tell about a customer or a provider."""

_AMOUNT: Final = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*([KMGTPE]?)(I?)B?", re.ASCII | re.IGNORECASE)
_NEUTRAL: Final = str.maketrans("", "", ",_'\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}")


def text(form: Form, name: str, most: int, otherwise: str = "") -> str:
    """What was written into a field, without blanks around it."""
    found = form.get(name, otherwise).replace("\r\n", "\n").strip()
    if len(found) > most:
        raise InvalidError(f"{name}: this has {len(found):,} characters, and at most {most:,} are kept")
    if "\0" in found or "\ufffd" in found:
        raise InvalidError(f"{name}: this is no text")
    return found


def actor(who: Identity, form: Form) -> Actor:
    """Who asks for a change, and why."""
    return Actor(who.name, text(form, "why", WHY))


def whole(form: Form, name: str) -> int:
    """A number of a version, of a release or of the like."""
    found = form.get(name, "")
    if not found.isascii() or not found.isdigit() or len(found) > 18:
        raise InvalidError(f"{name}: {found[:20]!r} is no number of one")
    return int(found)


def decimal(name: str, given: str, least: float, most: float) -> float:
    """A number in its range."""
    try:
        found = float(given[:20])
    except ValueError:
        raise InvalidError(f"{name}: {given[:20]!r} is no number") from None
    if not least <= found <= most:
        raise InvalidError(f"{name}: {found:g} is not from {least:g} to {most:,.0f}")
    return found


def amounts(form: Form) -> Amounts:
    """The limits of a quota, a field a control; an empty one is no limit."""
    return Amounts(**{control: amount(control, form.get(f"limit-{control}", "")) for control in CONTROLS})


def amount(control: str, given: str) -> int | None:
    """One limit as it is written, None where nothing is."""
    given = given.strip().translate(_NEUTRAL)
    if not given:
        return None
    match = _AMOUNT.fullmatch(given)
    if match is None:
        raise InvalidError(f"{control}: {given[:40]!r} is no amount: write it as 10,000, 10k or 10 GiB")
    number, unit, is_binary = match.groups()
    factor = (1024 if is_binary else 1000) ** " KMGTPE".index(unit.upper() or " ")
    found = Decimal(number) * factor
    if found != int(found) or found > MAXIMUM:
        raise InvalidError(f"{control}: {given[:40]!r} is not a whole number from 0 to {MAXIMUM:,}")
    return int(found)
