"""What is asked of which node, and what its answers mean: the same for both clients, and without I/O.

An exchange is a generator. It yields what is to be sent, is given the document that was answered or thrown the error
that came instead, and goes on with that: to the next node, or to the next part. A client runs it over its own wire.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from carbonquota.client.limiter.nodes import Nodes
from carbonquota.client.limiter.queue import ChargeQueue
from carbonquota.client.limiter.retries import Fallback
from carbonquota.client.limiter.values import LimiterAwayError, LimiterVerdict, Question
from carbonquota.errors import InputError

BATCH: Final = 500
"""Questions that go in one request."""
CHECK: Final = "/v1/check"
RELEASE: Final = "/v1/release"


class SentDocument(NamedTuple):
    """What is sent to a node."""

    node: str
    path: str
    document: dict[str, Any]


class QuestionBatch(NamedTuple):
    """Questions by their positions, which go together to the first of these nodes that answers."""

    nodes: tuple[str, ...]
    positions: Sequence[int]


def batches(nodes: Nodes, questions: Sequence[Question]) -> list[QuestionBatch]:
    """The questions in batches: where any node will do, they go together to the one whose turn it is."""
    if not questions:
        return []
    if not nodes.is_sharded:
        return _parts(tuple(nodes.order("")), range(len(questions)))
    found: dict[tuple[str, ...], list[int]] = {}
    for at, question in enumerate(questions):
        found.setdefault(tuple(nodes.order(question.key)), []).append(at)
    return [batch for order, positions in found.items() for batch in _parts(order, positions)]


def _parts(order: tuple[str, ...], positions: Sequence[int]) -> list[QuestionBatch]:
    return [QuestionBatch(order, positions[start : start + BATCH]) for start in range(0, len(positions), BATCH)]


def ask_nodes(
    nodes: Nodes, order: Sequence[str], questions: Sequence[Question]
) -> Generator[SentDocument, Any, list[LimiterVerdict]]:
    """The verdicts of the first node that answers; LimiterAwayError where none does."""
    document = {"questions": [question.document() for question in questions]}
    complaints = []
    for node in order:
        try:
            answer = yield SentDocument(node, CHECK, document)
            verdicts = [LimiterVerdict.of(one) for one in answer["verdicts"]]
        except LimiterAwayError as error:
            complaints.append(str(error))
        except (TypeError, KeyError):
            complaints.append(f"{node}: what answers there is no limiter")
        else:
            if len(verdicts) == len(questions):
                nodes.succeeded(node)
                return verdicts
            complaints.append(f"{node}: {len(questions)} questions have {len(verdicts)} answers")
        nodes.failed(node)
    raise LimiterAwayError("; ".join(complaints) or "no address of the limiter's nodes is known")


@dataclass(slots=True)
class CheckResults:
    """What became of each of some questions, by its position; `away` are those that no node answered."""

    questions: Sequence[Question]
    verdicts: dict[int, LimiterVerdict] = field(default_factory=dict)
    away: list[int] = field(default_factory=list)
    refused: dict[int, InputError] = field(default_factory=dict)
    complaint: str = ""

    def ask_batch(self, nodes: Nodes, batch: QuestionBatch) -> Generator[SentDocument, Any, None]:
        """Have a batch answered. A refusal is of the whole batch, and nothing was charged: the parts are asked."""
        try:
            verdicts = yield from ask_nodes(nodes, batch.nodes, [self.questions[at] for at in batch.positions])
        except LimiterAwayError as error:
            self.complaint = str(error)
            self.away += batch.positions
        except InputError as error:
            if len(batch.positions) == 1:
                self.refused[batch.positions[0]] = error
                return
            middle = len(batch.positions) // 2
            for part in (batch.positions[:middle], batch.positions[middle:]):
                yield from self.ask_batch(nodes, QuestionBatch(batch.nodes, part))
        else:
            self.verdicts.update(zip(batch.positions, verdicts, strict=True))

    def answer_alone(self, fallback: Fallback) -> None:
        """Give those that no node answered what the fallback says; LimiterAwayError where that shall be told."""
        if self.away:
            self.verdicts.update(dict.fromkeys(self.away, fallback.verdict(self.complaint)))

    @property
    def unanswered(self) -> list[Question]:
        """The questions that no node answered."""
        return [self.questions[at] for at in self.away]

    def all_verdicts(self) -> list[LimiterVerdict]:
        """The verdicts in the order of the questions; InputError where one of them was refused."""
        if self.refused:
            raise self.refused[min(self.refused)]
        return [self.verdicts[at] for at in range(len(self.questions))]


def replayed(queue: ChargeQueue, numbers: Sequence[int], results: CheckResults) -> int:
    """Take what was made from a queue; how much that was. What no node will ever take is dropped, and counted."""
    queue.dropped += len(results.refused)
    done = [numbers[at] for at in (*results.verdicts, *results.refused)]
    queue.remove(done)
    return len(results.verdicts)
