"""The documents about rules; their docstrings are part of the API, as OpenAPI shows them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, create_model

from carbonquota.hub.domain.names import PATTERN
from carbonquota.hub.domain.rules import FleetDaemon, Mode, Release, RulesTrial, RuleVersion
from carbonquota.hub.http.documents import STRICT, Whole, Why
from carbonquota.hub.service.rules import LARGEST
from carbonquota.model import CONTROL_FIELDS
from carbonquota.rules import Finding, RuleSet
from carbonquota.web.problems import ProblemPlace, place_of

GroupName = Annotated[str, Field(pattern=f"^$|{PATTERN}", description="A group of daemons; empty is all daemons")]
Number = Annotated[int, Field(ge=1, le=2_000_000_000)]


class RulesText(BaseModel):
    """A text as storage-quotas.conf has it."""

    model_config = STRICT

    text: Annotated[str, Field(max_length=LARGEST)]
    why: Why = ""


class FindingDocument(BaseModel):
    """Something that is allowed and looks wrong, or should be known."""

    code: str
    severity: str
    place: ProblemPlace


class CheckedDocument(BaseModel):
    """What there is to say of a text; `rules` is how many there are, null where there are errors."""

    rules: int | None
    errors: list[ProblemPlace]
    findings: list[FindingDocument]


class VersionDocument(BaseModel):
    """A version of the rules; `checksum` is the SHA-256 of its text, `time` in seconds since the epoch."""

    number: int
    checksum: str
    time: float
    actor: str
    why: str
    text: str | None = None


class VersionList(BaseModel):
    """Versions, the newest first, without their texts."""

    versions: list[VersionDocument]


class ReleaseOrder(BaseModel):
    """A version to put in force."""

    model_config = STRICT

    version: Number
    mode: Mode
    group: GroupName = ""
    why: Why = ""


class RollbackOrder(BaseModel):
    """Where to put in force what was before."""

    model_config = STRICT

    group: GroupName = ""
    why: Why = ""


class ReleaseDocument(BaseModel):
    """A release; `approved` is who approved of it, empty while it waits for a second administrator."""

    number: int
    version: int
    mode: Mode
    group: str
    time: float
    actor: str
    approved: str
    why: str


class ReleaseList(BaseModel):
    """Releases, the newest first."""

    releases: list[ReleaseDocument]


class StandingDocument(BaseModel):
    """A limit that is passed, or was: what is used, the limit in force (`before`) and the one tried (`after`)."""

    daemon: str
    namespace: str
    control: str
    usage: int
    before: int | None
    after: int | None


class TrialDocument(BaseModel):
    """How many limits of how many namespaces would be passed; `newly_` are those that are not now, `relieved` no more.

    `over` are limits of what is held, `throttled` those of points an interval; `standings` are the most pressing ones.
    """

    namespaces: int
    over: int
    newly_over: int
    throttled: int
    newly_throttled: int
    relieved: int
    standings: list[StandingDocument]


class DaemonDocument(BaseModel):
    """A daemon as it last told of itself, at `seen`, seconds since the epoch."""

    name: str
    group: str
    running: int
    seen: float
    trouble: str


class DaemonList(BaseModel):
    """Daemons by name."""

    daemons: list[DaemonDocument]


class _NamespaceUsage(BaseModel):
    """What a namespace holds, a field for each control; `throughput` are points of the present interval."""

    model_config = STRICT

    namespace: Annotated[str, Field(max_length=4096)]

    def amounts(self) -> tuple[int, ...]:
        """As `Usage` has them."""
        return tuple(getattr(self, control) for control in CONTROL_FIELDS)


if TYPE_CHECKING:
    NamespaceUsage = _NamespaceUsage
else:
    NamespaceUsage = create_model(
        "NamespaceUsage",
        __base__=_NamespaceUsage,
        __doc__=_NamespaceUsage.__doc__,
        **dict.fromkeys(CONTROL_FIELDS, (Whole, 0)),
    )


class DaemonUsageDocument(BaseModel):
    """What the namespaces of a daemon hold."""

    model_config = STRICT

    namespaces: Annotated[list[NamespaceUsage], Field(max_length=20_000)]


class NamespaceDrops(BaseModel):
    """Points that were dropped of a namespace by one control."""

    model_config = STRICT

    namespace: Annotated[str, Field(max_length=4096)]
    control: Annotated[str, Field(max_length=40)]
    points: Whole


class DaemonDropsDocument(BaseModel):
    """What a daemon dropped since it told of it last, where it was the most."""

    model_config = STRICT

    drops: Annotated[list[NamespaceDrops], Field(max_length=100)]


class InForce(BaseModel):
    """What a daemon is to have: a release, and the text of its version with the SHA-256 of that."""

    release: int
    version: int
    mode: Mode
    checksum: str
    text: str


def checked_document(rules: RuleSet, findings: list[Finding]) -> CheckedDocument:
    """A text without errors."""
    found = [
        FindingDocument(code=one.code, severity=one.severity.value, place=place_of(one.problem)) for one in findings
    ]
    return CheckedDocument(rules=len(rules.rules), errors=[], findings=found[:1000])


def version_document(version: RuleVersion, *, with_text: bool = True) -> VersionDocument:
    """A version as a document."""
    return VersionDocument(**asdict(version) | {"text": version.text if with_text else None})


def release_document(release: Release) -> ReleaseDocument:
    """A release as a document."""
    return ReleaseDocument(**asdict(release))


def daemon_document(daemon: FleetDaemon) -> DaemonDocument:
    """A daemon as a document."""
    return DaemonDocument(**asdict(daemon))


def trial_document(trial: RulesTrial) -> TrialDocument:
    """A trial as a document."""
    fields: dict[str, Any] = asdict(trial)
    return TrialDocument(**fields)
