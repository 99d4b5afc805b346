"""What is advised where a package is missing: a command that fits, for packages that an index has."""

from __future__ import annotations

import sys

import pytest

from carbonquota.cli import missing
from carbonquota.errors import InputError


def test_the_advice_names_what_is_missing_and_where_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["click>=8", 'uvicorn>=0.30; extra == "daemon"', 'google-re2>=1.1 ; extra == "daemon"', 'x; extra == "y"']
    monkeypatch.setattr(missing, "requires", lambda name: wanted)
    monkeypatch.setattr(missing, "find_spec", lambda name: None if name != "uvicorn" else object())
    assert missing.advice("daemon") == f"{sys.executable} -m pip install 'google-re2>=1.1'"
    monkeypatch.setattr(missing, "find_spec", lambda name: object())
    assert missing.advice("daemon") == "install carbonquota with its extra daemon"


def test_the_extras_within_an_extra_are_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "carbonquota[web]; extra == 'hub'",
        "sqlalchemy>=2; extra == 'hub'",
        "grpcio>=1; extra == 'hub'",
        "fastapi>=0.115; extra == 'web'",
        "pyjwt[crypto]>=2.8; extra == 'web'",
        "none-such>=1; extra == 'web'",
        "another-one; extra == 'limiter'",
    ]
    monkeypatch.setattr(missing, "requires", lambda name: wanted)
    assert missing.advice("hub") == f"{sys.executable} -m pip install 'none-such>=1'"


def test_a_part_says_what_it_lacks_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "requires", lambda name: ["none-such>=1; extra == 'hub'"])
    monkeypatch.setitem(sys.modules, "sqlite3.dump", None)
    with pytest.raises(InputError) as told:
        missing.part("sqlite3.dump", "the quota service", "hub")
    assert str(told.value) == (
        "the quota service needs the package sqlite3.dump, which is not installed: "
        f"{sys.executable} -m pip install 'none-such>=1'"
    )
