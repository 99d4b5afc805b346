"""The JSON of our own clients: many questions in one request, and what became of each.

    POST /v1/check    {"questions": [{"domain": "d", "descriptors": [[["key", "value"]]], "hits": 1, "tier": "pro"}]}
                      {"verdicts": [{"allowed": true, "remaining": 9, "limit": 10, "seconds": 1, "reset": 0.5, ...}]}
    POST /v1/release  {"leases": [["key", 17, 1]]}

A verdict has the leases of requests in flight, which are handed back as they came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from carbonquota.limiter.faces.grpc.messages import MOST_DESCRIPTORS
from carbonquota.limiter.model import Answer, Code, Descriptor, FullAnswer, Lease, Request
from carbonquota.web.grpc.replies import MessageError

MOST_QUESTIONS: Final = 1_000
_HALF: Final = re.compile("[\ud800-\udfff]")
_TEXTS: Final = ("tier", "address", "client", "route")


def read_questions(body: bytes) -> list[Request]:
    """The questions of a body; MessageError says what is wrong with it."""
    questions = _list_of(body, "questions")
    if len(questions) > MOST_QUESTIONS:
        raise MessageError(f"there are more than {MOST_QUESTIONS:,} questions")
    return [_question(one) for one in questions]


def read_leases(body: bytes) -> Answer:
    """The leases of a body, as the answer that they came with; MessageError where they are none."""
    return FullAnswer(Code.OK, (), leases=tuple(map(_lease, _list_of(body, "leases"))))


def write_verdicts(answers: Sequence[Answer]) -> dict[str, Any]:
    """The document of answers."""
    return {"verdicts": [_verdict(answer) for answer in answers]}


def _list_of(body: bytes, name: str) -> list[Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise MessageError("the body is no JSON") from None
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise MessageError(f'the body is no object with a list "{name}"')
    return found


def _question(one: object) -> Request:
    if not isinstance(one, dict) or not _is_text(one.get("domain")) or not one["domain"]:
        raise MessageError("a question is an object with a domain")
    descriptors = one.get("descriptors")
    if not isinstance(descriptors, list) or not 0 < len(descriptors) <= MOST_DESCRIPTORS:
        raise MessageError(f"a question has 1 to {MOST_DESCRIPTORS} descriptors")
    hits = one.get("hits", 1)
    if type(hits) is not int or not 0 <= hits < 2**32:
        raise MessageError("hits is a whole number from 0 on")
    texts = {name: one.get(name, "") for name in _TEXTS}
    if not all(_is_text(value) for value in texts.values()):
        raise MessageError(f"{', '.join(_TEXTS)} are texts")
    return Request(one["domain"], tuple(map(_descriptor, descriptors)), hits, **texts)


def _descriptor(entries: object) -> Descriptor:
    if not isinstance(entries, list) or not entries or not all(_is_entry(entry) for entry in entries):
        raise MessageError('a descriptor is a list of entries, as in [["client", "ada"]]')
    return Descriptor(tuple((key, value) for key, value in entries))


def _is_entry(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(_is_text(part) for part in entry)


def _is_text(value: object) -> bool:
    """Whether it is a text that has bytes: JSON can write halves of characters, which have none."""
    return isinstance(value, str) and not _HALF.search(value)


def _lease(one: object) -> Lease:
    kinds = (str, int, int)
    if not isinstance(one, list) or [type(part) for part in one] != list(kinds):
        raise MessageError("a lease is what a verdict had")
    return Lease(*one)


def _verdict(answer: Answer) -> Mapping[str, Any]:
    tightest = answer.tightest
    limit = tightest.limit if tightest is not None else None
    verdict: dict[str, Any] = {"allowed": answer.allowed, "challenge": answer.challenge}
    if not answer.allowed:
        verdict["retry_after"] = answer.retry_after
    if tightest is not None and limit is not None:
        verdict |= {"rule": tightest.rule, "limit": limit.requests, "seconds": limit.seconds}
        verdict |= {"remaining": tightest.remaining, "reset": tightest.reset}
    if answer.leases:
        verdict["leases"] = [[one.key, one.token, one.places] for one in answer.leases]
    return verdict
