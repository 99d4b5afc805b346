"""Which route a request has; other spellings of a path are the same route."""

from __future__ import annotations

import pytest

from carbonquota.limiter.identity.routes import Route, Routes, host_name, plain_path

ROUTES = Routes(
    [
        Route("login", "/login", frozenset({"POST"})),
        Route("user", "/users/{id:int}", host="api.example.org"),
        Route("file", "/files/{name:path}"),
        Route("tenant", host="*.tenants.example.org"),
        Route("reading", methods=frozenset({"GET", "HEAD"})),
    ]
)


@pytest.mark.parametrize(
    ("method", "host", "path", "name", "parts"),
    [
        ("POST", "x", "/login", "login", {}),
        ("POST", "x", "/login?next=/users/1", "login", {}),
        ("POST", "x", "/login/", "login", {}),
        ("POST", "x", "//login", "login", {}),
        ("POST", "x", "/%6Cogin", "login", {}),
        ("POST", "x", "/users/../login", "login", {}),
        ("POST", "x", "/./login", "login", {}),
        ("POST", "x", "\\login", "login", {}),
        ("GET", "x", "/login", "reading", {}),
        ("GET", "api.example.org", "/users/17", "user", {"id": "17"}),
        ("GET", "API.example.org.:8080", "/users/17", "user", {"id": "17"}),
        ("GET", "api.example.org", "/users/me", "reading", {}),
        ("PUT", "x", "/files/a/b/c", "file", {"name": "a/b/c"}),
        ("PUT", "a.tenants.example.org", "/any", "tenant", {}),
        ("PUT", "a.b.tenants.example.org", "/any", "tenant", {}),
    ],
)
def test_the_first_route_that_fits_is_taken(
    method: str, host: str, path: str, name: str, parts: dict[str, str]
) -> None:
    match = ROUTES.match(method, host, path)
    assert match is not None
    assert (match.route.name, match.parts) == (name, parts)


@pytest.mark.parametrize(
    ("method", "host", "path"),
    [("PUT", "x", "/nothing"), ("PUT", "tenants.example.org", "/"), ("POST", "x", "/loginx"), ("POST", "x", "/Login")],
)
def test_what_fits_none_has_none(method: str, host: str, path: str) -> None:
    assert ROUTES.match(method, host, path) is None


@pytest.mark.parametrize(
    ("written", "plain"),
    [("", "/"), ("/", "/"), ("/a//b", "/a/b"), ("/a/../../b", "/b"), ("/a%2Fb", "/a/b"), ("/a/.", "/a"), ("/ä", "/ä")],
)
def test_a_path_has_one_spelling(written: str, plain: str) -> None:
    assert plain_path(written) == plain


@pytest.mark.parametrize(
    ("written", "name"),
    [("Example.org:443", "example.org"), ("[2001:db8::1]:80", "[2001:db8::1]"), ("example.org.", "example.org")],
)
def test_a_host_has_one_spelling(written: str, name: str) -> None:
    assert host_name(written) == name


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("users", 'the path "users" must begin with "/"'),
        ("/{id:uuidx}", "the path \"/{id:uuidx}\" is no template: Unknown path convertor 'uuidx'"),
        ("/{a}/{a}", 'the path "/{a}/{a}" is no template: Duplicated param name a at path /{a}/{a}'),
    ],
)
def test_a_bad_template_is_told(path: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        Routes([Route("r", path)])
    assert str(error.value) == complaint
