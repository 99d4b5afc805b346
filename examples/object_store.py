"""A small gateway in the manner of S3: objects in buckets, with limits on operations and bytes of users and of buckets.

Each request is one question with a descriptor for each limit that it touches, so it is charged to all of them or, where
one refuses, to none: a user who is over the limit takes nothing from the bucket. Bytes are hits of a descriptor's own.

    GET, PUT, DELETE /BUCKET/KEY, with the header X-User

Run it with any ASGI server: `uvicorn --factory object_store:make_app`.
"""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from carbonquota.limiter.faces.headers import HeaderStyle, answer_headers
from carbonquota.limiter.model import Answer, Descriptor, Request
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter

RULES = Path(__file__).with_name("object_store.yaml")


def question(user: str, bucket: str, operation: str, size: int) -> Request:
    """What an operation, `read` or `write`, on so many bytes is charged to."""
    bytes_of = {"read": "bytes_read", "write": "bytes_written"}[operation]
    owners = (("user", user), ("bucket", bucket))
    return Request(
        "objects",
        (
            *(Descriptor((owner, (operation, ""))) for owner in owners),
            *(Descriptor((owner, (bytes_of, "")), hits=size) for owner in owners if size),
        ),
        client=user,
    )


class ObjectStore:
    """Objects in memory behind a limiter."""

    def __init__(self, limiter: Limiter) -> None:
        """Start empty."""
        self._limiter = limiter
        self._objects: dict[tuple[str, str], bytes] = {}

    async def answer(self, request: HttpRequest) -> Response:
        """Do what is asked, if the limits of its user and its bucket leave room for it."""
        user, bucket = request.headers.get("x-user", "nobody"), request.path_params["bucket"]
        place = (bucket, request.path_params["key"])
        if request.method == "PUT":
            size = request.headers.get("content-length", "")
            if not size.isdecimal():
                return Response(status_code=411)
            # The body is only read where there is room for it.
            answer = await self._ask(question(user, bucket, "write", int(size)))
            if answer.allowed:
                self._objects[place] = await request.body()
        elif request.method == "DELETE":
            answer = await self._ask(question(user, bucket, "write", 0))
            if answer.allowed:
                self._objects.pop(place, None)
        else:
            found = self._objects.get(place)
            size = "0" if found is None else str(len(found))
            answer = await self._ask(question(user, bucket, "read", int(size)))
            if answer.allowed:
                return _reply(answer, 404 if found is None else 200, found or b"")
        return _reply(answer, 204)

    async def _ask(self, asked: Request) -> Answer:
        limiter = self._limiter
        return limiter.check(asked) if limiter.is_local else await limiter.check_async(asked)


def _reply(answer: Answer, status: int, body: bytes = b"") -> Response:
    headers = dict(answer_headers(answer, HeaderStyle()))
    # What S3's clients know, and try again after: "SlowDown".
    return Response(body, status if answer.allowed else 503, headers)


def make_app(limiter: Limiter | None = None) -> Starlette:
    """The application; without a limiter, with one that counts in this process."""
    limiter = limiter or Limiter(DomainRules.from_text(RULES.read_text(), str(RULES)))
    methods = ["GET", "PUT", "DELETE"]
    return Starlette(routes=[Route("/{bucket}/{key:path}", ObjectStore(limiter).answer, methods=methods)])
