"""What a request asks the limiter: client, route, tier and descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from carbonquota.errors import QuotaError
from carbonquota.limiter.identity.address import ClientAddress, read_networks
from carbonquota.limiter.identity.heads import RequestHeadReader
from carbonquota.limiter.identity.keys import ApiKeys, KeyOwner, read_keys
from carbonquota.limiter.identity.resolve import Head, IdentityPolicy, IdentityResolver, check_words
from carbonquota.limiter.identity.routes import Route, Routes
from carbonquota.limiter.model import Descriptor

KEYS = ApiKeys({sha256(b"k1").hexdigest(): KeyOwner("acme", "pro")})
ADDRESSES = ClientAddress(read_networks(["10.0.0.0/8"]))


def verify(token: str) -> Mapping[str, Any] | None:
    return {"good": {"sub": "ada", "tier": "pro"}, "tierless": {"sub": "bob"}, "empty": {}}.get(token)


def identity(*routes: Route, **policy: Any) -> IdentityResolver:  # noqa: ANN401 - any field of it
    return IdentityResolver(IdentityPolicy(**policy), ADDRESSES, Routes(routes), KEYS, verify)


def head(**given: Any) -> Head:  # noqa: ANN401 - the same
    return Head(**({"method": "GET", "host": "api.example.org", "path": "/", "peer": "198.51.100.7"} | given))


@pytest.mark.parametrize(
    ("given", "client", "tier"),
    [
        ({}, "address:198.51.100.7", "free"),
        ({"token": "good"}, "user:ada", "pro"),
        ({"token": "tierless"}, "user:bob", "free"),
        ({"token": "forged"}, "address:198.51.100.7", "free"),
        ({"token": "empty"}, "address:198.51.100.7", "free"),
        ({"key": "k1"}, "key:acme", "pro"),
        ({"key": "made up"}, "address:198.51.100.7", "free"),
        ({"token": "forged", "key": "k1"}, "key:acme", "pro"),
        ({"token": "good", "key": "k1"}, "user:ada", "pro"),
        ({"peer": "2001:db8::17"}, "address:2001:db8::/64", "free"),
    ],
)
def test_a_client_is_who_is_proven_and_else_an_address(given: dict[str, Any], client: str, tier: str) -> None:
    question = identity(tier="free").resolve(head(**given)).question
    assert (question.client, question.tier) == (client, tier)


def test_only_a_proven_client_is_known() -> None:
    resolved = [identity().resolve(head(token=token)).known for token in ("good", "forged", "")]
    assert resolved == [True, False, False]


def test_descriptors_are_made_of_words_and_left_out_where_one_has_no_value() -> None:
    route = Route("user", "/users/{id}", cost=5)
    one = identity(route, descriptors=(("client",), ("user", "route"), ("path.id", "method"), ("tier",)))
    question = one.resolve(head(path="/users/17?x=1")).question
    assert question.descriptors == (
        Descriptor((("client", "address:198.51.100.7"),)),
        Descriptor((("path.id", "17"), ("method", "GET"))),
    )
    assert (question.hits, question.route, question.domain, question.address) == (5, "user", "gateway", "198.51.100.7")


def test_a_route_may_have_its_own_descriptors() -> None:
    one = identity(Route("login", "/login", descriptors=(("remote_address", "route"),)))
    question = one.resolve(head(path="/login")).question
    assert question.descriptors == (Descriptor((("remote_address", "198.51.100.7"), ("route", "login"))),)


def test_a_long_value_is_told_by_its_digest() -> None:
    one = identity(Route("r", "/{name}"), descriptors=(("path.name",),))
    (descriptor,) = one.resolve(head(path="/" + "x" * 10_000)).question.descriptors
    assert descriptor.entries == (("path.name", "sha256:" + sha256(b"x" * 10_000).hexdigest()),)


def test_words_that_mean_nothing_are_told() -> None:
    check_words(("client", "path.id"))
    with pytest.raises(ValueError, match=r'^"clint" is nothing that a descriptor is made of: these are client, user, '):
        check_words(("clint",))
    with pytest.raises(ValueError, match=r"^a descriptor without words "):
        check_words(())


FIELDS = {
    "host": ["limiter"],
    "x-forwarded-for": ["203.0.113.1, 198.51.100.7"],
    "x-forwarded-method": ["delete"],
    "x-forwarded-host": ["api.example.org"],
    "x-forwarded-uri": ["/made/up", "/things/1"],
    "x-original-url": ["https://shop.example.org/cart?id=1"],
    "authorization": ["bearer abc"],
    "x-api-key": ["k1"],
}


def test_a_trusted_gateway_tells_of_the_request_that_it_asks_about() -> None:
    found = RequestHeadReader(ADDRESSES).read("GET", "/", FIELDS, "10.0.0.1")
    hops = ["203.0.113.1", "198.51.100.7"]
    assert found == Head("DELETE", "api.example.org", "/things/1", "10.0.0.1", hops, "abc", "k1")


def test_anybody_else_tells_of_nothing_but_itself() -> None:
    found = RequestHeadReader(ADDRESSES).read("GET", "/mine", FIELDS, "192.0.2.1")
    assert (found.method, found.host, found.path, found.hops) == ("GET", "limiter", "/mine", ())


def test_fields_that_the_gateway_does_not_write_are_not_looked_at() -> None:
    reader = RequestHeadReader(ADDRESSES, original="x-original", forwarded="none")
    found = reader.read("GET", "/", FIELDS, "10.0.0.1")
    assert (found.method, found.host, found.path, found.hops) == ("GET", "shop.example.org", "/cart", [])
    assert "x-forwarded-uri" not in reader.wanted


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nsha256 = "{sha256(b"s3cret").hexdigest()}"\nclient = "acme"\ntier = "pro"\n')
    assert read_keys(path).owner("s3cret") == KeyOwner("acme", "pro")
    assert read_keys(path).owner("other") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[keys]\n", "this is not TOML: "),
        ("[keys]\na = 1\n", "API keys stand in tables called [[keys]], and nothing else stands here"),
        ("[[keys]]\nkey = 1\n", "the 1. of [[keys]]: it has the texts sha256, client and tier, and no others"),
        ('[[keys]]\nsha256 = "ab"\n', "the 1. of [[keys]]: sha256 must be 64 hexadecimal digits, as "),
        (f'[[keys]]\nsha256 = "{"a" * 64}"\n', "the 1. of [[keys]]: it names no client"),
    ],
)
def test_a_bad_file_of_keys_is_told(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(QuotaError) as error:
        read_keys(path)
    assert str(error.value).startswith(f"{path}: {complaint}")
