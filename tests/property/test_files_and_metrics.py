"""The law of the file: what a store keeps in one file is one metric, and one metric is kept in one file."""

from __future__ import annotations

import os
from itertools import combinations

import pytest
from carbon.util import TaggedSeries
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.errors import MetricNameError
from carbonquota.metric_name import must_be_respelled, normalize
from carbonquota.storage.paths import path_of
from tests.support.names import stored_by_carbon

PARTS = st.text("ab~_é\\", max_size=3)
PATHS = st.builds(
    lambda parts, ends: "".join(part + end for part, end in zip(parts, ends, strict=False)),
    st.lists(PARTS, min_size=1, max_size=4),
    st.lists(st.sampled_from([".", "/", "..", "//", "./", "/../", ""]), min_size=4, max_size=4),
)
TAGS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "name", "", "a!", "_DOT_"]), st.sampled_from(["1", "/", ".", "_DOT_", "", "~"])
    ),
    max_size=3,
)
SPELLINGS = st.one_of(
    PATHS,
    st.builds(lambda path, tags: path + "".join(f";{tag}={value}" for tag, value in tags), PATHS, TAGS),
    st.builds(lambda path, tags: path + "{" + ",".join(f'{tag}="{value}"' for tag, value in tags) + "}", PATHS, TAGS),
    st.text('a./~;={}"', max_size=8),
)
"""Names in all the spellings that some store takes for one another's."""


def carbons_file(name: str, *, hashed: bool) -> str:
    """Where carbon 1.1.10 keeps a metric that it gets under this name."""
    path: str = TaggedSeries.encode(stored_by_carbon(name), os.sep, hash_only=hashed)
    return os.path.normpath(f"{path}.wsp")


def passed_on(name: str, normal: str) -> str:
    """Under which name a relay passes on a point, and carbon with our plugin stores it."""
    return normal if must_be_respelled(name, normal) else name


def normal_forms(names: list[str]) -> dict[str, str]:
    """The normal form of each that has one."""
    found = {}
    for name in names:
        try:
            found[name] = normalize(name)
        except MetricNameError:
            continue
    return found


@given(st.lists(SPELLINGS, max_size=12))
@pytest.mark.parametrize("hashed", [True, False])
def test_names_that_are_passed_on_share_a_file_of_carbons_if_and_only_if_they_are_one_metric(
    hashed: bool, names: list[str]
) -> None:
    normal = normal_forms(names)
    for one, other in combinations(normal, 2):
        files = [carbons_file(passed_on(name, normal[name]), hashed=hashed) for name in (one, other)]
        assert (files[0] == files[1]) == (normal[one] == normal[other])


@given(SPELLINGS)
def test_the_file_of_a_name_that_is_passed_on_is_that_of_its_normal_form(name: str) -> None:
    for spelling, normal in normal_forms([name]).items():
        assert carbons_file(passed_on(spelling, normal), hashed=True) == carbons_file(normal, hashed=True)


@given(st.lists(SPELLINGS, max_size=12))
def test_metrics_share_a_file_of_our_store_if_and_only_if_they_are_one(names: list[str]) -> None:
    normal = normal_forms(names)
    for one, other in combinations(normal, 2):
        assert (path_of(normal[one]) == path_of(normal[other])) == (normal[one] == normal[other])


@given(SPELLINGS.filter(lambda name: ";" not in name and "{" not in name))
def test_our_store_makes_the_file_that_carbon_makes(name: str) -> None:
    for normal in normal_forms([name]).values():
        assert path_of(normal) == carbons_file(normal, hashed=True)
