"""`/v1/rules`: versions, trials, releases and rollbacks; and what daemons are to have, as a long poll."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from carbonquota.errors import MOST_SHOWN, ConfigError
from carbonquota.hub.domain.names import PATTERN
from carbonquota.hub.domain.rules import EVERY_GROUP, FleetDaemon, checked_rules, findings_of
from carbonquota.hub.domain.values import Actor
from carbonquota.hub.http.answers import CHANGES, READS
from carbonquota.hub.http.rule_documents import (
    CheckedDocument,
    DaemonDropsDocument,
    DaemonList,
    DaemonUsageDocument,
    InForce,
    ReleaseDocument,
    ReleaseList,
    ReleaseOrder,
    RollbackOrder,
    RulesText,
    TrialDocument,
    VersionDocument,
    VersionList,
    checked_document,
    daemon_document,
    release_document,
    trial_document,
    version_document,
)
from carbonquota.hub.http.waiters import Waiters
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.rules import Rules
from carbonquota.web.access import Identity, Role, require
from carbonquota.web.problems import place_of, problem

_LONGEST_WAIT: Final = 55.0
_BIG: Final = 2_000_000_000

Admin = Annotated[Identity, require(Role.ADMIN)]
Reader = Annotated[Identity, require(Role.OPERATOR)]
Store = Annotated[Identity, require(Role.PROVIDER, Role.OPERATOR)]
Number = Annotated[int, Path(ge=1, le=_BIG)]
Group = Annotated[str, Query(pattern=f"^$|{PATTERN}", description="A group of daemons; empty is those of none")]
Node = Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[!-~]+$", description="The daemon's own name")]


def make_router(hub: Hub) -> APIRouter:
    """The endpoints about rules."""
    own, fleet = _Versions(hub.rules), _Fleet(hub, hub.rules)
    router = APIRouter(prefix="/v1/rules", tags=["rules"])
    add = router.add_api_route
    add("/check", own.check, methods=["POST"], summary="Check a text of rules", responses=READS)
    add("/trial", own.trial, methods=["POST"], summary="Try a text on what the fleet uses now", responses=READS)
    add("/daemons", fleet.daemons, summary="All daemons, and which release they run", responses=READS)
    add("/usage", fleet.usage, methods=["PUT"], status_code=204, summary="Tell what namespaces hold", responses=CHANGES)
    add("/drops", fleet.drops, methods=["PUT"], status_code=204, summary="Tell what is dropped", responses=CHANGES)
    _add_releases(router, own, fleet)
    return router


def make_limits_router(hub: Hub) -> APIRouter:
    """The same for limits, of which the rate limiters are told."""
    router = APIRouter(prefix="/v1/limits", tags=["limits"])
    _add_releases(router, _Versions(hub.limits), _Fleet(hub, hub.limits))
    return router


def _add_releases(router: APIRouter, own: _Versions, fleet: _Fleet) -> None:
    """The endpoints that rules of both kinds have."""
    add = router.add_api_route
    add("/versions", own.upload, methods=["POST"], status_code=201, summary="Send a new version", responses=CHANGES)
    add("/versions", own.versions, summary="All versions, the newest first", responses=READS)
    add("/versions/{number}", own.version, summary="A version with its text", responses=READS)
    add("/releases", own.release, methods=["POST"], status_code=201, summary="Release a version", responses=CHANGES)
    add("/releases", own.releases, summary="All releases, the newest first", responses=READS)
    add("/releases/{number}/approval", own.approve, methods=["PUT"], summary="Approve of a release", responses=CHANGES)
    add("/rollback", own.rollback, methods=["POST"], status_code=201, summary="Roll back", responses=CHANGES)
    add(
        "/in-force", fleet.in_force, summary="What a daemon is to have", responses=READS | _POLL, response_model=InForce
    )


_POLL: Final[dict[int | str, dict[str, Any]]] = {
    204: {"description": "Nothing was released yet"},
    304: {"description": "It is the release that `If-None-Match` names, and has been for all of `wait`"},
}


class _Versions:
    """Plain functions, each on a thread of its own."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def check(self, sent: RulesText, _: Reader) -> CheckedDocument:
        """Errors and findings with their places, as `carbonquota check` tells them; nothing is kept."""
        try:
            rules = checked_rules(sent.text)
        except ConfigError as error:
            return CheckedDocument(
                rules=None, errors=[place_of(one) for one in error.problems[:MOST_SHOWN]], findings=[]
            )
        return checked_document(rules, findings_of(rules))

    def trial(self, sent: RulesText, _: Reader, group: Group = EVERY_GROUP) -> TrialDocument:
        """Who would be over and who would be throttled, against what is in force, by what daemons last told.

        A daemon that tells nothing is not counted.
        """
        return trial_document(self._rules.try_text(sent.text, group))

    def upload(self, sent: RulesText, who: Admin) -> VersionDocument:
        """Keep a text as a new version; one that is the newest already stays it. Nothing is in force by this."""
        return version_document(self._rules.upload(Actor(who.name, sent.why), sent.text))

    def versions(
        self,
        _: Reader,
        before: Annotated[int | None, Query(ge=1, le=_BIG, description="Those with lower numbers")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> VersionList:
        """Without their texts."""
        return VersionList(
            versions=[version_document(one, with_text=False) for one in self._rules.versions(before, limit)]
        )

    def version(self, number: Number, _: Reader) -> VersionDocument:
        """As it was sent."""
        return version_document(self._rules.version(number))

    def release(self, order: ReleaseOrder, who: Admin) -> ReleaseDocument:
        """Put a version in force: `shadow` counts and drops nothing, `enforced` drops; for all daemons, or a group.

        While a shadow is in force nothing is dropped there, whatever was enforced before. Where a second administrator
        has to approve, it waits for that.
        """
        return release_document(self._rules.release(Actor(who.name, order.why), order.version, order.mode, order.group))

    def releases(self, _: Reader) -> ReleaseList:
        """With those that wait for approval."""
        return ReleaseList(releases=[release_document(one) for one in reversed(self._rules.releases())])

    def approve(
        self, number: Number, who: Admin, why: Annotated[str, Query(max_length=1000, description="For the audit")] = ""
    ) -> ReleaseDocument:
        """By another administrator than the one who asked for it; it is in force from then on."""
        return release_document(self._rules.approve(Actor(who.name, why), number))

    def rollback(self, order: RollbackOrder, who: Admin) -> ReleaseDocument:
        """Put in force what was before the release that is in force now; once more comes back to where it began."""
        return release_document(self._rules.rollback(Actor(who.name, order.why), order.group))


class _Fleet:
    """What daemons ask and tell."""

    def __init__(self, hub: Hub, rules: Rules) -> None:
        self._hub = hub
        self._rules = rules
        self._waiters = Waiters()
        self._bodies: dict[int, bytes] = {}
        rules.on_change(self._waiters.wake)

    def daemons(self, _: Reader) -> DaemonList:
        """Each with its group, the release that it runs (0: none of ours), when it was seen, and its trouble if any.

        One that was not seen for long (`carbonquota serve --forget-daemons`) is not there any more.
        """
        return DaemonList(daemons=[daemon_document(one) for one in self._rules.daemons()])

    def usage(self, told: DaemonUsageDocument, who: Store, node: Node) -> None:
        """A daemon tells what its namespaces hold, for trials; it takes the place of what it told before."""
        self._rules.note_usage(_name(who, node), [(one.namespace, one.amounts()) for one in told.namespaces])

    def drops(self, told: DaemonDropsDocument, who: Store, node: Node) -> None:
        """A daemon tells what it dropped since the last time; it takes the place of what it told before."""
        self._hub.drops.note(_name(who, node), [(one.namespace, one.control, one.points) for one in told.drops])

    async def in_force(  # noqa: PLR0913 - each is a parameter of the request
        self,
        who: Store,
        node: Node,
        *,
        group: Group = EVERY_GROUP,
        running: Annotated[int, Query(ge=0, le=_BIG, description="The release in force there, 0 for none")] = 0,
        trouble: Annotated[str, Query(max_length=500, description="Why the last one is not in force")] = "",
        wait: Annotated[float, Query(ge=0, le=_LONGEST_WAIT, description="Seconds to wait for another")] = 0,
        if_none_match: Annotated[str, Header(max_length=100)] = "",
    ) -> Response:
        """The release for a daemon's group with its text; with `If-None-Match` and `wait`, once there is another."""
        # All of them stand in one list, whatever they ask for.
        self._hub.rules.note_daemon(FleetDaemon(_name(who, node), group, running, self._hub.clock(), trouble))
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            with self._waiters.waiting() as changed:
                release = self._rules.in_force(group)
                etag = f'"{release.number if release else 0}"'
                left = until - loop.time()
                if if_none_match != etag or left <= 0:
                    break
                await changed(left)
        headers = {"ETag": etag, "Cache-Control": "no-store"}
        if if_none_match == etag:
            return Response(status_code=304, headers=headers)
        if release is None:
            return Response(status_code=204, headers=headers)
        try:
            body = self._bodies.get(release.number) or await run_in_threadpool(self._body, release.number, release)
        except ConfigError as error:
            return problem(500, str(error))
        return Response(body, media_type="application/json", headers=headers)

    def _body(self, number: int, release: Any) -> bytes:  # noqa: ANN401 - a Release
        """The answer about a release, made once."""
        version = self._rules.version(release.version)
        document = InForce(
            release=number, version=version.number, mode=release.mode, checksum=version.checksum, text=version.text
        )
        body = document.model_dump_json().encode()
        if len(self._bodies) >= 16:
            self._bodies.clear()
        self._bodies[number] = body
        return body


def _name(who: Identity, node: str) -> str:
    """What a daemon is called: one provider's cannot pass for another's."""
    return f"{who.subject}/{node}" if who.subject else node
