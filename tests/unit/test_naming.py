"""Stat names: what a namespace is called, cut when long, told apart when equal."""

from __future__ import annotations

import pytest

from carbonquota.naming import collision_suffix, stat_name, stat_names


@pytest.mark.parametrize(
    ("namespace", "prefix", "name"),
    [
        ("/", "", "root"),
        ("/", "all.", "all.root"),
        ("sys", "", "sys"),
        ("sys.app.web", "", "sys-app-web"),
        ("sys.app", "level2.", "level2.sys-app"),
        ("sys.app", "no-dot", "no-dotsys-app"),
    ],
)
def test_name(namespace: str, prefix: str, name: str) -> None:
    assert stat_name(namespace, prefix) == name


def test_a_name_of_249_characters_is_left_whole() -> None:
    assert stat_name("a" * 249) == "a" * 249


def test_a_name_of_250_characters_is_cut_to_250_with_a_hash_that_never_changes() -> None:
    name = stat_name("a." * 124 + "ab", "level1.")
    assert name == "level1." + ("a-" * 117)[:233] + "-c7384d8ca1b8bd86"
    assert len(name) == len("level1.") + 250


def test_long_names_that_begin_alike_stay_apart() -> None:
    assert stat_name("a" * 300 + ".b") != stat_name("a" * 300 + ".c")


def test_the_hash_is_of_the_namespace_and_not_of_its_stat_name() -> None:
    assert stat_name("a" * 300 + ".b-c") != stat_name("a" * 300 + "-b.c")


def test_collision_suffixes_are_stable_and_of_the_namespace() -> None:
    assert collision_suffix("a.b-c") == "-a9bb2a1a"
    assert collision_suffix("a-b.c") == "-4b695ab2"


@pytest.mark.parametrize(
    "namespaces",
    [[], ["/"], ["a.b"], ["a.b", "/", "a-b.c", "c"], ["x." * 130 + "y", "a" * 249, "a" * 250, "\u00e9.b", "a.b"]],
)
def test_many_names_are_as_one_by_one(namespaces: list[str]) -> None:
    assert stat_names(namespaces) == [stat_name(namespace) for namespace in namespaces]
