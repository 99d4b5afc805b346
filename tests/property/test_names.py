"""Every way into the engine takes the same names and means the same metrics by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.errors import MetricNameError, QuotaError
from carbonquota.model import Usage
from tests.support.engines import all_namespaces, engine_of
from tests.support.names import MalformedNameError, namespaces_of, normal_form

SPELLINGS = st.text("ab.;=~!^é\x00\x1f\x7f\x85\u200b\u2028\ud800", max_size=10) | st.text(max_size=8).filter(
    lambda text: not any(character.isspace() for character in text)
)


def _meaning(name: str | bytes) -> str | None:
    try:
        return normal_form(name)
    except MalformedNameError:
        return None


@given(SPELLINGS | SPELLINGS.map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=8))
def test_a_name_is_taken_everywhere_or_nowhere(name: str | bytes) -> None:
    engine, metric = engine_of([]), _meaning(name)
    if metric is None:
        for call in (engine.load, engine.offer, engine.forget, engine.explain):
            with pytest.raises(MetricNameError):
                call(name)
        assert len(engine) == 0
        assert all_namespaces(engine) == set()
    else:
        assert engine.offer(name).accepted
        assert metric in engine
        assert name in engine
        assert all_namespaces(engine) == set(namespaces_of(metric)) - {"/"}
        engine.load(metric)
        assert len(engine) == 1
        assert engine.forget(name)
        assert engine.usage() == Usage()


@given(SPELLINGS)
def test_a_line_means_the_metric_that_its_name_means(name: str) -> None:
    batched, metric = engine_of([]), _meaning(name)
    raw = name.encode(errors="surrogatepass")
    result = batched.admit(raw + b" 1 1\n")
    if not raw or any(byte in b" \t\n\r\v\f" for byte in raw):
        assert result.points <= 1
    else:
        assert (result.points, result.malformed) == ((0, 1) if metric is None else (1, 0))
        assert len(batched) == result.points
        assert metric is None or metric in batched


@pytest.mark.parametrize("points", [0, -1, -(2**70)])
def test_fewer_than_one_point_is_no_offer(points: int) -> None:
    engine = engine_of([])
    with pytest.raises(ValueError, match=f"not {points}"):
        engine.offer("a.m", points=points)
    assert len(engine) == 0


def test_a_malformed_name_is_an_error_of_the_package_and_a_value_error() -> None:
    with pytest.raises(QuotaError) as caught:
        engine_of([]).offer("a..\x00.b")
    assert isinstance(caught.value, ValueError)
