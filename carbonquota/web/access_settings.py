"""What a program is told about who may ask it over HTTP, and how it is encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reading = Literal["loopback", "everywhere", "nowhere"]
"""From where reading needs no token, once tokens are needed."""


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """`[access]`: without `tokens_file` and `jwt_keys` nobody needs a token, as long as only this machine asks.

    `jwt_keys` is the path or URL of a key set (JWKS) of `jwt_issuer`, whose tokens are for `jwt_audience`. With
    `tls_certificate` and `tls_key`, paths of PEM files, HTTP is encrypted.
    """

    tokens_file: str = ""
    reading: Reading = "loopback"
    jwt_keys: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    tls_certificate: str = ""
    tls_key: str = ""

    @property
    def needs_tokens(self) -> bool:
        """Whether there are tokens at all."""
        return bool(self.tokens_file or self.jwt_keys)
