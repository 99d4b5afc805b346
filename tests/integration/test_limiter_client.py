"""The limiter's clients, plain and for asyncio, against real limiters: batches, patience, nodes that go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from loopback_ports import free_port

from carbonquota.client.limiter import (
    AsyncLimiterClient,
    ChargeQueue,
    Fallback,
    LimiterAwayError,
    LimiterClient,
    LimiterVerdict,
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
    rate_limit: {algorithm: token_bucket, unit: second, requests_per_unit: 1, burst: 1}
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


class Blocking:
    """The client for asyncio, on a loop of its own, so that the same tests hold for both."""

    def __init__(self, nodes: Nodes | list[str], **more: Any) -> None:  # noqa: ANN401 - as the client takes it
        self.runner = asyncio.Runner()
        self.client = AsyncLimiterClient(nodes, **more)

    def check(self, question: Question, retry: RetryPolicy | None = None) -> LimiterVerdict:
        return self.runner.run(self.client.check(question, retry))

    def check_many(self, questions: list[Question]) -> list[LimiterVerdict]:
        return self.runner.run(self.client.check_many(questions))

    def release(self, question: Question, verdict: LimiterVerdict) -> None:
        self.runner.run(self.client.release(question, verdict))

    def close(self) -> None:
        self.runner.run(self.client.close())
        self.runner.close()


Client = type[LimiterClient] | type[Blocking]


@pytest.fixture(params=[LimiterClient, Blocking], ids=["plain", "asyncio"])
def kind(request: pytest.FixtureRequest) -> Client:
    client: Client = request.param
    return client


@contextmanager
def asking(
    kind: Client,
    nodes: Nodes | list[str],
    **more: Any,  # noqa: ANN401 - as the client takes it
) -> Iterator[LimiterClient | Blocking]:
    with closing(kind(nodes, timeout=PATIENT, **more)) as client:
        yield client


def allowed(two: list[LimiterProcess]) -> list[float]:
    """How much each node let pass so far."""
    name = 'carbonquota_limiter_requests_total{face="http",verdict="allowed"}'
    return [one.metrics().get(name, 0.0) for one in two]


def test_many_questions_are_answered_in_their_order_each_by_the_node_of_its_key(
    kind: Client, two: list[LimiterProcess]
) -> None:
    nodes = Nodes([one.address("HTTP") for one in two], sharded=True)
    before = allowed(two)
    with asking(kind, nodes) as client:
        verdicts = client.check_many([ask("user", f"{kind.__name__} {n % 100}") for n in range(700)])
        assert [verdict.allowed for verdict in verdicts] == [True] * 500 + [False] * 200
        assert verdicts[0].limit == 5
        assert verdicts[0].remaining == 4
        assert verdicts[600].retry_after
        asked = [after - first for after, first in zip(allowed(two), before, strict=True)]
        assert sum(asked) == 500
        assert min(asked) > 100


def test_it_waits_only_when_told_and_then_as_long_as_the_limiter_says(kind: Client, two: list[LimiterProcess]) -> None:
    with asking(kind, [two[0].address("HTTP")]) as client:
        began = time.monotonic()
        # Where the machine is busy, a second may pass in between.
        allowed = next(number for number in range(100) if not client.check(ask("quick", kind.__name__)).allowed)
        assert allowed
        assert client.check(ask("quick", kind.__name__), RetryPolicy(PATIENT)).allowed
        assert time.monotonic() - began >= 0.99 * allowed
        # What would be too late is not waited for.
        assert client.check(ask("user", f"waits {kind.__name__}", hits=5)).allowed
        began = time.monotonic()
        assert not client.check(ask("user", f"waits {kind.__name__}"), RetryPolicy(PATIENT)).allowed
        assert time.monotonic() - began < PATIENT


def test_a_place_in_flight_is_given_back(kind: Client, two: list[LimiterProcess]) -> None:
    with asking(kind, [two[0].address("HTTP")]) as client:
        first = client.check(ask("flight", kind.__name__))
        assert first.allowed
        assert not client.check(ask("flight", kind.__name__)).allowed
        client.release(ask("flight", kind.__name__), first)
        assert client.check(ask("flight", kind.__name__)).allowed


def test_the_next_node_answers_for_one_that_is_away(kind: Client, two: list[LimiterProcess]) -> None:
    with asking(kind, [f"127.0.0.1:{free_port()}", two[0].address("HTTP")]) as client:
        assert [client.check(ask("user", f"next {kind.__name__}")).allowed for _ in range(6)] == [True] * 5 + [False]


def test_a_question_that_is_none_is_told(kind: Client, two: list[LimiterProcess]) -> None:
    with asking(kind, [two[0].address("HTTP")]) as client:
        with pytest.raises(InputError, match="a question has 1 to 256 descriptors"):
            client.check(Question("d", []))
        with pytest.raises(InputError, match="a question is an object with a domain"):
            client.check(Question("", [[("a", "b")]]))


def test_while_all_are_away_the_fallback_answers_and_charges_are_made_when_one_is_back(
    tmp_path: Path, kind: Client, two: list[LimiterProcess]
) -> None:
    queue = ChargeQueue(tmp_path / "charges")
    # It ends and comes back, having forgotten all.
    one, name = two[1], f"away {kind.__name__}"
    address = one.address("HTTP")
    with asking(kind, [address], fallback=Fallback("allow", queue)) as client:
        assert client.check(ask("user", name)).remaining == 4
        one.stop(9)
        verdicts = client.check_many([ask("user", name), ask("user", name)])
        assert [(verdict.allowed, verdict.is_fallback) for verdict in verdicts] == [(True, True)] * 2
        with asking(kind, [address], fallback=Fallback("deny")) as denying:
            assert denying.check(ask("user", name)).allowed is False
        with (
            asking(kind, [address], fallback=Fallback("raise")) as raising,
            pytest.raises(LimiterAwayError, match=r"^no node of the limiter answers: 127\.0\.0\.1:\d+: "),
        ):
            raising.check(ask("user", name))
        text = one.configuration.read_text()
        one.configuration.write_text(text.replace('[http]\nlisten = "127.0.0.1:0"', f'[http]\nlisten = "{address}"'))
        one.start()
        assert len(queue) == 2
        assert client.check(ask("user", name)).remaining == 4
        assert len(queue) == 0
        assert client.check(ask("user", name)).remaining == 1


def test_tasks_that_ask_together_go_in_one_request_and_a_fault_is_of_its_own_question(
    two: list[LimiterProcess],
) -> None:
    async def scene() -> list[LimiterVerdict | BaseException]:
        # Every address of the name is a node, also one of IPv6, where nobody listens: then the next one is asked.
        nodes = Nodes([f"dns://localhost:{two[0].port('HTTP')}"], sharded=True)
        async with AsyncLimiterClient(nodes, timeout=PATIENT) as client:
            questions = [ask("user", "together") for _ in range(8)]
            questions.insert(2, Question("d", []))
            return await asyncio.gather(*map(client.check, questions), return_exceptions=True)

    *answers, last = asyncio.run(scene())
    fault = answers.pop(2)
    assert isinstance(fault, InputError)
    assert "a question has 1 to 256 descriptors" in str(fault)
    assert [isinstance(one, LimiterVerdict) and one.allowed for one in (*answers, last)] == [True] * 5 + [False] * 3


def test_a_charge_that_no_node_takes_keeps_no_others_waiting(
    tmp_path: Path, kind: Client, two: list[LimiterProcess]
) -> None:
    queue, name = ChargeQueue(tmp_path / "charges"), f"waited {kind.__name__}"
    queue.put([ask("user", name), Question("d", []), ask("user", name)])
    with asking(kind, [two[0].address("HTTP")], fallback=Fallback("allow", queue)) as client:
        client.check(ask("user", "other"))
        assert client.check(ask("user", name)).remaining == 2
    assert (len(queue), queue.dropped) == (0, 1)
