"""`[access]` of a file: its keys, and what belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, get_args

from carbonquota.errors import Problem
from carbonquota.service.values.kinds import FILE, FILE_OR_URL, TEXT, ValueKind, choice
from carbonquota.service.values.toml import TomlDocument
from carbonquota.web.access_settings import AccessSettings, Reading

ACCESS_KEYS: Final[Mapping[str, ValueKind]] = {
    "tokens-file": FILE,
    "reading": choice(*get_args(Reading)),
    "jwt-keys": FILE_OR_URL,
    "jwt-issuer": TEXT,
    "jwt-audience": TEXT,
    "tls-certificate": FILE,
    "tls-key": FILE,
}


def access_problems(access: AccessSettings, document: TomlDocument) -> Iterator[Problem]:
    """What belongs together is there together."""
    needs = {
        "jwt-keys": ("jwt-issuer", "jwt-audience"),
        "jwt-issuer": ("jwt-keys",),
        "jwt-audience": ("jwt-keys",),
        "tls-certificate": ("tls-key",),
        "tls-key": ("tls-certificate",),
    }
    for key, others in needs.items():
        if getattr(access, key.replace("-", "_")):
            missing = [other for other in others if not getattr(access, other.replace("-", "_"))]
            if missing:
                message = f"{key} is set, but {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not"
                yield document.key_problem(("access", key), message, f"set {' and '.join(missing)} in [access], too")
