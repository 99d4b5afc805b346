"""The limiter's client against real limiters: batches, patience, nodes that go and come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from loopback_ports import free_port

from carbonquota.client.limiter import (
    ChargeQueue,
    Fallback,
    LimiterAwayError,
    LimiterClient,
    Nodes,
    Question,
    RetryPolicy,
)
from carbonquota.errors import InputError
from tests.support.limiter import LimiterProcess, several

RULES = """
domain: d
descriptors:
  - key: user
    rate_limit: {unit: year, requests_per_unit: 5}
  - key: quick
    rate_limit: {algorithm: token_bucket, unit: second, requests_per_unit: 10, burst: 1}
  - key: flight
    rate_limit: {algorithm: concurrency, unit: minute, requests_per_unit: 1}
"""
PATIENT = 30.0


def ask(key: str, value: str, hits: int = 1) -> Question:
    return Question("d", [[(key, value)]], hits)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LimiterProcess]]:
    folder = tmp_path_factory.mktemp("nodes")
    with several(LimiterProcess(folder / "a", RULES), LimiterProcess(folder / "b", RULES)) as both:
        yield both


@contextmanager
def asking(nodes: Nodes | list[str], **more: Any) -> Iterator[LimiterClient]:  # noqa: ANN401 - as the client takes it
    with LimiterClient(nodes, timeout=PATIENT, **more) as client:
        yield client


def test_many_questions_are_answered_in_their_order_each_by_the_node_of_its_key(two: list[LimiterProcess]) -> None:
    nodes = Nodes([one.address("HTTP") for one in two], sharded=True)
    with asking(nodes) as client:
        verdicts = client.check_many([ask("user", str(n % 100)) for n in range(700)])
        assert [verdict.allowed for verdict in verdicts] == [True] * 500 + [False] * 200
        assert verdicts[0].limit == 5
        assert verdicts[0].remaining == 4
        assert verdicts[600].retry_after
        asked = [one.metrics()['carbonquota_limiter_requests_total{face="http",verdict="allowed"}'] for one in two]
        assert sum(asked) == 500
        assert min(asked) > 100


def test_it_waits_only_when_told_and_then_as_long_as_the_limiter_says(two: list[LimiterProcess]) -> None:
    with asking([two[0].address("HTTP")]) as client:
        began = time.monotonic()
        assert [client.check(ask("quick", "a")).allowed for _ in range(2)] == [True, False]
        assert client.check(ask("quick", "a"), RetryPolicy(PATIENT)).allowed
        assert time.monotonic() - began >= 0.1
        # What would be too late is not waited for.
        assert client.check(ask("user", "waits", hits=5)).allowed
        began = time.monotonic()
        assert not client.check(ask("user", "waits"), RetryPolicy(PATIENT)).allowed
        assert time.monotonic() - began < PATIENT


def test_a_place_in_flight_is_given_back(two: list[LimiterProcess]) -> None:
    with asking([two[0].address("HTTP")]) as client:
        first = client.check(ask("flight", "a"))
        assert first.allowed
        assert not client.check(ask("flight", "a")).allowed
        client.release(ask("flight", "a"), first)
        assert client.check(ask("flight", "a")).allowed


def test_the_next_node_answers_for_one_that_is_away(two: list[LimiterProcess]) -> None:
    with asking([f"127.0.0.1:{free_port()}", two[0].address("HTTP")]) as client:
        assert [client.check(ask("user", "next")).allowed for _ in range(6)] == [True] * 5 + [False]


def test_a_question_that_is_none_is_told(two: list[LimiterProcess]) -> None:
    with asking([two[0].address("HTTP")]) as client:
        with pytest.raises(InputError, match="a question has 1 to 256 descriptors"):
            client.check(Question("d", []))
        with pytest.raises(InputError, match="a question is an object with a domain"):
            client.check(Question("", [[("a", "b")]]))


def test_while_all_are_away_the_fallback_answers_and_charges_are_made_when_one_is_back(
    tmp_path: Path, two: list[LimiterProcess]
) -> None:
    queue = ChargeQueue(tmp_path / "charges")
    # The last test that asks this node: it ends and comes back.
    one = two[1]
    address = one.address("HTTP")
    with asking([address], fallback=Fallback("allow", queue)) as client:
        assert client.check(ask("user", "away")).remaining == 4
        one.stop(9)
        verdicts = client.check_many([ask("user", "away"), ask("user", "away")])
        assert [(verdict.allowed, verdict.is_fallback) for verdict in verdicts] == [(True, True)] * 2
        denying = LimiterClient([address], fallback=Fallback("deny"))
        assert denying.check(ask("user", "away")).allowed is False
        with pytest.raises(LimiterAwayError, match=r"^no node of the limiter answers: 127\.0\.0\.1:\d+: "):
            LimiterClient([address], fallback=Fallback("raise")).check(ask("user", "away"))
        text = one.configuration.read_text()
        one.configuration.write_text(text.replace('[http]\nlisten = "127.0.0.1:0"', f'[http]\nlisten = "{address}"'))
        one.start()
        assert len(queue) == 2
        assert client.check(ask("user", "away")).remaining == 4
        assert len(queue) == 0
        assert client.check(ask("user", "away")).remaining == 1
