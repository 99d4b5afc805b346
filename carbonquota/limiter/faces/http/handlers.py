"""What is asked over HTTP: the check of gateways, envoyproxy/ratelimit's `/json`, and JSON for our own clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Final

from envoy.service.ratelimit.v3 import rls_pb2
from google.protobuf import json_format

from carbonquota.limiter.faces.checker import Checker, FaceStats
from carbonquota.limiter.faces.grpc.messages import read_request, write_answer
from carbonquota.limiter.faces.headers import HeaderStyle, answer_headers
from carbonquota.limiter.faces.http.known import KnownRequests
from carbonquota.limiter.faces.http.questions import read_leases, read_questions, write_verdicts
from carbonquota.limiter.faces.http.replies import HttpRequest, Reply, document_reply, problem
from carbonquota.limiter.identity.heads import RequestHeadReader
from carbonquota.limiter.identity.resolve import Identified, IdentityResolver
from carbonquota.limiter.later import settling
from carbonquota.limiter.model import Answer, Code, Request
from carbonquota.web.grpc.replies import MessageError

CHECK: Final = "/check"
_UNKNOWN: Final = problem(401, "a token or an API key is needed", (("www-authenticate", "Bearer"),))


@dataclass(frozen=True, slots=True)
class Handlers:
    """Answers the requests of the HTTP face. `denied` is the status of a request that may not pass."""

    limiter: Checker
    identity: IdentityResolver
    heads: RequestHeadReader
    stats: FaceStats
    style: HeaderStyle = field(default_factory=HeaderStyle)
    denied: int = 429
    is_serving: Callable[[], bool] = lambda: True
    known: KnownRequests = field(default_factory=KnownRequests)

    @property
    def wanted(self) -> frozenset[bytes]:
        """The fields of a head that are looked at."""
        return frozenset(name.encode("latin-1") for name in self.heads.wanted | {"expect"})

    def handle(self, request: HttpRequest) -> Reply | Awaitable[Reply]:
        """The reply to a request, or what gives it when a store has been asked."""
        path = request.path
        if path.startswith(CHECK) and path[len(CHECK) :][:1] in {"", "/"}:
            return self._check(request)
        if path == "/json":
            return self._json(request)
        if path == "/healthcheck":
            return _text(200, "OK") if self.is_serving() else _text(500, "")
        if path in {"/v1/check", "/v1/release"}:
            return self._api(request)
        return problem(404)

    def _api(self, request: HttpRequest) -> Reply | Awaitable[Reply]:
        """Our own clients' JSON."""
        if request.method != "POST":
            return problem(405, "", (("allow", "POST"),))
        try:
            if request.path == "/v1/check":
                return self._check_all(read_questions(request.body))
            leases = read_leases(request.body)
        except MessageError as error:
            self.stats.faults["malformed"] += 1
            return problem(400, str(error))
        return self._release(leases)

    def _check_all(self, questions: Sequence[Request]) -> Reply | Awaitable[Reply]:
        """One answer after the other; a store is asked about all of them together."""
        if not self.limiter.is_local:
            return self._check_all_later(questions)
        answers = []
        for question in questions:
            began = perf_counter()
            answers.append(self.limiter.check(question))
            self.stats.note(answers[-1], perf_counter() - began)
        return document_reply(200, write_verdicts(answers))

    async def _check_all_later(self, questions: Sequence[Request]) -> Reply:
        began = perf_counter()
        self.stats.waiting += len(questions)
        try:
            answers = await asyncio.gather(*map(self.limiter.check_async, questions))
        finally:
            self.stats.waiting -= len(questions)
        for answer in answers:
            self.stats.note(answer, perf_counter() - began)
        return document_reply(200, write_verdicts(answers))

    def _release(self, leases: Answer) -> Reply | Awaitable[Reply]:
        if self.limiter.is_local:
            self.limiter.release(leases)
            return Reply(204)
        return self._release_later(leases)

    async def _release_later(self, leases: Answer) -> Reply:
        await self.limiter.release_async(leases)
        return Reply(204)

    def _check(self, request: HttpRequest) -> Reply | Awaitable[Reply]:
        """May the request pass that this one tells of, or that stands behind `/check`?"""
        began = perf_counter()
        return self._check_identified(self._identified(request), began)

    def handle_again(self, data: bytes, peer: str) -> Reply | Awaitable[Reply] | None:
        """The same for a whole request of bytes that `remember` was called with; None of any other."""
        began = perf_counter()
        found = self.known.find_bytes(data, peer)
        return None if found is None else self._check_identified(found, began)

    def remember(self, data: bytes, request: HttpRequest) -> None:
        """A request came in one piece: know it again by its bytes. HEAD is answered otherwise than its question."""
        if request.method != "HEAD":
            self.known.keep_bytes(data, request)

    def _check_identified(self, found: Identified, began: float) -> Reply | Awaitable[Reply]:
        if self.identity.policy.needs_identity and not found.known:
            self.stats.faults["unknown"] += 1
            return _UNKNOWN
        return self._decide(found.question, began, self._verdict)

    def _identified(self, request: HttpRequest) -> Identified:
        """What a request is; the same bytes are the same, but for tokens, which end."""
        known = self.known.find(request)
        if known is not None:
            return known
        target = request.target[len(CHECK) :] or "/"
        head = self.heads.read(request.method, target, request.fields, request.peer)
        found = self.identity.resolve(head)
        if not head.token:
            self.known.keep(request, found)
        return found

    def _decide(self, question: Request, began: float, reply: Callable[[Answer], Reply]) -> Reply | Awaitable[Reply]:
        if self.limiter.is_local:
            answer = self.limiter.check(question)
        else:
            future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            known = self.limiter.check_soon(question, partial(self._decided, settling(future), began, reply))
            if known is None:
                self.stats.waiting += 1
                return future
            answer = known
        self.stats.note(answer, perf_counter() - began)
        return reply(answer)

    def _decided(
        self,
        settle: Callable[[Reply | Exception], None],
        began: float,
        reply: Callable[[Answer], Reply],
        answer: Answer | Exception,
    ) -> None:
        self.stats.waiting -= 1
        if isinstance(answer, Exception):
            settle(answer)
            return
        self.stats.note(answer, perf_counter() - began)
        settle(reply(answer))

    def _verdict(self, answer: Answer) -> Reply:
        headers = answer_headers(answer, self.style)
        return Reply(200, headers) if answer.allowed else problem(self.denied, "", headers)

    def _json(self, request: HttpRequest) -> Reply | Awaitable[Reply]:
        """Envoy's messages as JSON: 200 passes, 429 does not."""
        if request.method != "POST":
            return problem(405, "", (("allow", "POST"),))
        began = perf_counter()
        try:
            message = json_format.Parse(request.body, rls_pb2.RateLimitRequest())
            question = read_request(message)
        except (json_format.ParseError, MessageError, UnicodeDecodeError, RecursionError) as error:
            self.stats.faults["malformed"] += 1
            return problem(400, str(error)[:200])
        return self._decide(question, began, self._json_verdict)

    def _json_verdict(self, answer: Answer) -> Reply:
        body = json_format.MessageToDict(write_answer(answer, self.style))
        return document_reply(429 if answer.code is Code.OVER_LIMIT else 200, body)


def _text(status: int, text: str) -> Reply:
    return Reply(status, (), text.encode(), "text/plain; charset=utf-8")
