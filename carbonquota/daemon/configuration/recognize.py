"""Whether a text is a daemon's configuration rather than storage rules: both are called `.conf` and have `[sections]`.

The rule, in this order:

1. A key of a quota (`metrics = ...`, bare, at the start of a line) makes it rules, whatever its sections are called: a
   namespace may be `cache` or `relay`.
2. A section of the configuration, ours or go-carbon's, with one of that section's own keys makes it a configuration.
3. So do only such sections, if one of their values is written as TOML: in quotes, true, false or a number.
4. All else is rules.

It looks at lines, not at TOML, so that a configuration with an error of syntax is told as what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from carbonquota.daemon.configuration.go_carbon import FOREIGN_KEYS, FOREIGN_SECTIONS
from carbonquota.daemon.configuration.keys import KEYS
from carbonquota.rules.fields import CONTROL_KEYS, POLICY_KEY, PREFIX_KEY
from carbonquota.suggest import nearest

_SECTIONS: Final = frozenset(KEYS) | FOREIGN_SECTIONS
_QUOTA_KEYS: Final = frozenset((*CONTROL_KEYS, POLICY_KEY, PREFIX_KEY))
_HEADER: Final = re.compile(r"\s*\[\[?\s*([^\]\s]*)")
_ENTRY: Final = re.compile(r"""\s*["']?([\w.-]+)["']?\s*=\s*(.*)""", re.DOTALL)
_TOML_VALUE: Final = re.compile(r"""["'\[{]|(?:true|false|[+-]?[0-9][0-9_.]*)\s*(?:#|$)""")


def is_configuration(text: str) -> bool:
    """Whether the text is to be read as a `carbonquota.conf` or `go-carbon.conf`."""
    entries = list(_entries(text))
    if any(key.lower() in _QUOTA_KEYS for _, key, _ in entries):
        return False
    if any(key in KEYS.get(section, ()) or key in FOREIGN_KEYS.get(section, ()) for section, key, _ in entries):
        return True
    if not all(section in _SECTIONS for section, _, _ in entries):
        return False
    return any(_TOML_VALUE.match(value) and not nearest(key, _QUOTA_KEYS) for _, key, value in entries)


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    """Section, key and value of each line that has them; of a section only what stands before its first dot."""
    section = ""
    for line in text.removeprefix("\ufeff").splitlines():
        header = _HEADER.match(line)
        entry = _ENTRY.fullmatch(line)
        if header:
            section = header[1].partition(".")[0].strip("\"'")
        elif entry:
            first, _, rest = entry[1].partition(".")
            yield (section, entry[1], entry[2]) if section or not rest else (first, rest, entry[2])
