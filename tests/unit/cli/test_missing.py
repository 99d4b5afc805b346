"""What is advised where a package is missing: a command that fits, for packages that an index has."""

from __future__ import annotations

import sys

import pytest

from carbonquota.cli import missing


def test_the_advice_names_what_is_missing_and_where_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["click>=8", 'uvicorn>=0.30; extra == "daemon"', 'google-re2>=1.1 ; extra == "daemon"', 'x; extra == "y"']
    monkeypatch.setattr(missing, "requires", lambda name: wanted)
    monkeypatch.setattr(missing, "find_spec", lambda name: None if name != "uvicorn" else object())
    assert missing.advice("daemon") == f"{sys.executable} -m pip install 'google-re2>=1.1'"
    monkeypatch.setattr(missing, "find_spec", lambda name: object())
    assert missing.advice("daemon") == "install carbonquota with its extra daemon"
