"""JWTs: only those of the issuer, for us, signed by a public key's owner, and not past their end."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from carbonquota.errors import InputError, QuotaError
from carbonquota.web.access import Identity, Role
from carbonquota.web.authentication import AuthenticationUnavailable, NotAuthenticated
from carbonquota.web.jwt_tokens import JwtAuthenticator, JwtSettings, checked_url
from tests.support.web import EC_KEY, OTHER_KEY, RSA_KEY, ManualClock, key_set

SETTINGS = JwtSettings("keys.json", "https://id.example", "carbonquota")


def claims(**changes: object) -> dict[str, Any]:
    now = time.time()
    good = {"iss": "https://id.example", "aud": "carbonquota", "sub": "ann", "exp": now + 300, "role": "operator"}
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(payload: dict[str, Any], key: Any = RSA_KEY, algorithm: str = "RS256", **header: str) -> str:  # noqa: ANN401
    return jwt.encode(payload, key, algorithm, headers={"kid": "one"} | header)


def by_hand(header: dict[str, str], payload: dict[str, Any], secret: bytes = b"") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, payload)]
    signature = hmac.new(secret, b".".join(parts), hashlib.sha256).digest() if secret else b""
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


@pytest.fixture
def authenticator() -> JwtAuthenticator:
    return JwtAuthenticator(SETTINGS, ManualClock(), lambda _: key_set(one=RSA_KEY, two=EC_KEY))


@pytest.mark.parametrize(
    ("more", "identity"),
    [
        ({}, ("ann", Role.OPERATOR, "")),
        ({"role": "customer", "subject": "acme"}, ("ann", Role.CUSTOMER, "acme")),
        ({"role": "admin", "subject": "acme"}, ("ann", Role.ADMIN, "")),
        ({"aud": ["else", "carbonquota"]}, ("ann", Role.OPERATOR, "")),
    ],
    ids=str,
)
def test_who_it_is_stands_in_the_claims(
    authenticator: JwtAuthenticator, more: dict[str, object], identity: tuple[str, Role, str]
) -> None:
    found = authenticator.authenticate(signed(claims(**more)))
    assert isinstance(found, Identity)
    assert (found.name, found.role, found.subject) == identity
    assert found.expires == pytest.approx(time.time() + 300, abs=60)


def test_a_key_of_another_kind_is_as_good(authenticator: JwtAuthenticator) -> None:
    token = signed(claims(), EC_KEY, "ES256", kid="two")
    authenticator.load()
    assert authenticator.authenticate(token) is not None
    found = authenticator.verify(token)
    assert found is not None
    assert found["sub"] == "ann"


PUBLIC_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
FORGED = {
    "no signature": by_hand({"alg": "none", "typ": "JWT", "kid": "one"}, claims()),
    "no signature, in capitals": by_hand({"alg": "NONE", "kid": "one"}, claims()),
    "signed by the public key": by_hand({"alg": "HS256", "kid": "one"}, claims(), PUBLIC_PEM),
    "signed by an empty secret": by_hand({"alg": "HS256", "kid": "one"}, claims(), b"\0"),
    "another's key": signed(claims(), OTHER_KEY),
    "the id of another key": signed(claims(), kid="two"),
    "an unknown key": signed(claims(), kid="three"),
    "another algorithm of the same key": signed(claims(), algorithm="PS256"),
    "another algorithm in the header": ".".join(
        [by_hand({"alg": "RS512", "kid": "one"}, {}).split(".")[0], *signed(claims()).split(".")[1:]]
    ),
    "expired": signed(claims(exp=time.time() - 60)),
    "without an end": signed(claims(exp=None)),
    "not yet": signed(claims(nbf=time.time() + 600)),
    "another issuer": signed(claims(iss="https://evil.example")),
    "for somebody else": signed(claims(aud="grafana")),
    "for nobody": signed(claims(aud=None)),
    "of nobody": signed(claims(sub=None)),
    "without a role": signed(claims(role=None)),
    "a role that is none": signed(claims(role="root")),
    "a list of roles": signed(claims(role=["admin"])),
    "a customer without a name": signed(claims(role="customer")),
    "a provider whose name is a list": signed(claims(role="provider", subject=["a"])),
    "other claims under the signature": ".".join(
        [
            signed(claims()).split(".")[0],
            by_hand({}, claims(role="admin")).split(".")[1],
            signed(claims()).split(".")[2],
        ]
    ),
    "a key of its own in the header": jwt.encode(
        claims(), OTHER_KEY, "RS256", headers={"jwk": json.loads(key_set(x=OTHER_KEY))["keys"][0], "jku": "http://x"}
    ),
    "no JWT": "a.b.c",
    "empty parts": "..",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
def test_what_is_forged_is_refused(authenticator: JwtAuthenticator, token: str) -> None:
    with pytest.raises(NotAuthenticated) as error:
        authenticator.authenticate(token)
    assert not any(len(part) > 5 and part in str(error.value) for part in token.split("."))


@pytest.mark.parametrize("what", ["no signature", "signed by the public key", "another's key", "expired", "for nobody"])
def test_who_only_asks_for_claims_gets_none_of_what_is_forged(authenticator: JwtAuthenticator, what: str) -> None:
    authenticator.load()
    assert authenticator.verify(FORGED[what]) is None
    assert authenticator.verify(signed(claims())) is not None


def test_other_tokens_are_left_to_others(authenticator: JwtAuthenticator) -> None:
    assert authenticator.authenticate("cq_something") is None


def test_keys_are_read_again_when_a_new_one_signs_but_not_at_will() -> None:
    clock, texts, readings = ManualClock(), [key_set(one=OTHER_KEY)], [0]

    def read(_: str) -> str:
        readings[0] += 1
        return texts[-1]

    authenticator = JwtAuthenticator(SETTINGS, clock, read)
    authenticator.load()
    texts.append(key_set(new=RSA_KEY))
    token = signed(claims(), kid="new")
    for number in range(20):
        with pytest.raises(NotAuthenticated):
            authenticator.authenticate(signed(claims(), kid=f"made up {number}"))
    assert readings == [1]
    clock.now += 31
    assert authenticator.authenticate(token) is not None
    assert readings == [2]
    texts.append("this is not it")
    clock.now += 3601
    assert authenticator.authenticate(token) is not None, "the keys of before go on"
    with pytest.raises(AuthenticationUnavailable, match="is no key set"):
        authenticator.authenticate(signed(claims(), kid="newer"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "k: this is no key set"),
        ("[]", "k: this is no key set"),
        ('{"keys": []}', "k: the key set has no public key"),
        (
            '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "one"}]}',
            "k: the key set has no public key",
        ),
    ],
)
def test_a_key_set_without_public_keys_is_refused_at_the_start(text: str, message: str) -> None:
    settings = JwtSettings("k", "i", "a")
    with pytest.raises(InputError, match=message):
        JwtAuthenticator(settings, ManualClock(), lambda _: text).load()


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(key_set(one=RSA_KEY))
    authenticator = JwtAuthenticator(JwtSettings(str(path), "https://id.example", "carbonquota"), ManualClock())
    authenticator.load()
    assert authenticator.authenticate(signed(claims())) is not None
    with pytest.raises(InputError, match=r"none\.json: the key set cannot be read"):
        JwtAuthenticator(JwtSettings(str(tmp_path / "none.json"), "i", "a"), ManualClock()).load()


@pytest.mark.parametrize("url", ["http://id.example/keys", "ftp://id.example/keys", "file:///etc/passwd", "HTTP://a/b"])
def test_keys_come_by_https(url: str) -> None:
    with pytest.raises(InputError, match="comes by https, or from this machine"):
        checked_url(url)
    assert checked_url("https://id.example/keys")
    assert checked_url("http://127.0.0.1:80/keys")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithms": ("RS256", "HS256")}, "HS256 cannot be taken for JWTs: choose of RS256"),
        ({"algorithms": ("none",)}, "none cannot be taken"),
        ({"issuer": ""}, "JWTs need an issuer, an audience and an algorithm"),
        ({"audience": ""}, "JWTs need an issuer, an audience and an algorithm"),
    ],
    ids=str,
)
def test_settings_that_let_others_in_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(QuotaError, match=message):
        JwtSettings(**({"keys": "k", "issuer": "i", "audience": "a"} | changes))
