"""The documents of the HTTP API; their docstrings are part of it, as OpenAPI shows them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from carbonquota.hub.domain.controls import Amounts
from carbonquota.hub.domain.names import PATTERN
from carbonquota.hub.domain.values import Quota
from carbonquota.model import MAXIMUM

Name = Annotated[str, Field(pattern=PATTERN)]
Whole = Annotated[int, Field(ge=0, le=MAXIMUM)]
Why = Annotated[str, Field(max_length=1000, description="For the audit")]

STRICT: Final = ConfigDict(extra="forbid")


class LimitsDocument(BaseModel):
    """A limit a control; null is none, 0 is that nothing may be held. Give at least one."""

    model_config = STRICT

    bytes: Whole | None = None
    physical_bytes: Whole | None = None
    metrics: Whole | None = None
    data_points: Whole | None = None
    points_per_minute: Whole | None = None

    def amounts(self) -> Amounts:
        """As the service has them."""
        return Amounts(**self.model_dump())


class QuotaOrder(BaseModel):
    """A quota as it shall be, and why."""

    model_config = STRICT

    limits: LimitsDocument
    why: Why = ""


class QuotaDocument(BaseModel):
    """A quota in force: over all providers where `provider` is empty. `version` is also the ETag.

    `fresh_within` is for how many seconds at most others may have changed it; while the database is away it grows.
    """

    customer: str
    provider: str
    limits: LimitsDocument
    version: int
    fresh_within: float


class QuotaList(BaseModel):
    """Quotas of one customer."""

    quotas: list[QuotaDocument]


class CustomerQuotaPage(BaseModel):
    """Quotas of some customers. Where `next` is not null there may be more: ask again for those after it."""

    quotas: list[QuotaDocument]
    next: str | None


class Changed(BaseModel):
    """What was changed is this version now."""

    version: int


def quota_document(quota: Quota) -> QuotaDocument:
    """A quota as a document."""
    limits = LimitsDocument.model_validate(dict(quota.limits.given()))
    return QuotaDocument(customer=quota.customer, provider=quota.provider, limits=limits, version=quota.change,
                         fresh_within=quota.age)  # fmt: skip


class QuotaPlace(BaseModel):
    """One quota of a batch: over all providers where `provider` is left out; without limits it is deleted.

    `version` is the one that was seen: 0 is that there is none yet, left out is whatever there is.
    """

    model_config = STRICT

    customer: Name
    provider: Name | None = None
    limits: LimitsDocument | None = None
    version: Annotated[int, Field(ge=0, le=MAXIMUM)] | None = None


class QuotaBatch(BaseModel):
    """Quotas that are changed together: all of them or none."""

    model_config = STRICT

    quotas: Annotated[list[QuotaPlace], Field(min_length=1, max_length=10_000)]
    why: Why = ""


class CustomerOrder(BaseModel):
    """A customer as it shall be: patterns of the namespaces that it owns on our daemons, and words for people."""

    model_config = STRICT

    namespaces: Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=1000)] = []
    about: Annotated[str, Field(max_length=4000)] = ""
    why: Why = ""


class CustomerDocument(BaseModel):
    """A customer; `version` is also the ETag."""

    customer: str
    namespaces: list[str]
    about: str
    version: int


class CustomerPage(BaseModel):
    """Customers by name. Where there are more, ask again for those `after` the last one."""

    customers: list[CustomerDocument]


class MetricMapping(BaseModel):
    """Series of a metric that tell what customers hold of a control; the value of `label` is the customer's name.

    Only those with the labels of `where` count. Several series of one customer are added.
    """

    model_config = STRICT

    metric: Annotated[str, Field(min_length=1, max_length=200)]
    label: Annotated[str, Field(min_length=1, max_length=200)]
    control: Annotated[str, Field(max_length=40)]
    where: Annotated[dict[str, str], Field(max_length=20)] = {}


class ProviderOrder(BaseModel):
    """A provider as it shall be. It is stale where nothing was heard for `stale_after` seconds.

    `interval` is how often it measures, in seconds. `kind` is how that is known: `push`, it tells; `prometheus`, its
    page of metrics at `url` is read by `mapping`; `carbonquota`, it is one of our daemons, and customers hold what
    their namespaces do.
    """

    model_config = STRICT

    kind: Literal["push", "prometheus", "carbonquota"] = "push"
    url: Annotated[str, Field(max_length=2000)] = ""
    mapping: Annotated[list[MetricMapping], Field(max_length=100)] = []

    interval: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    stale_after: Annotated[float, Field(ge=1, le=864_000)] = 180.0
    about: Annotated[str, Field(max_length=4000)] = ""
    why: Why = ""


class ProviderDocument(BaseModel):
    """A provider; `version` is also the ETag."""

    provider: str
    kind: str
    url: str
    mapping: list[MetricMapping]
    interval: float
    stale_after: float
    about: str
    version: int


class ProviderList(BaseModel):
    """All providers, by name."""

    providers: list[ProviderDocument]


Column = Annotated[list[Whole | None], Field(max_length=100_000)]


class UtilizationOrder(BaseModel):
    """What a provider measured, as columns: by position a customer, and its amount (null: not known) by control.

    `time` is when it was measured, in seconds since the epoch; left out it is now. Where it is `complete`, customers
    that are not named hold nothing.
    """

    model_config = STRICT

    customers: Annotated[list[str], Field(max_length=100_000)]
    time: Annotated[float, Field(gt=0, le=1e11)] | None = None
    complete: bool = False
    bytes: Column | None = None
    physical_bytes: Column | None = None
    metrics: Column | None = None
    data_points: Column | None = None
    points_per_minute: Column | None = None


class UtilizationTaken(BaseModel):
    """How many values were stored, how many of the customers nobody knows, and some of these."""

    values: int
    unknown: int
    such_as: list[str]


class UsageValue(BaseModel):
    """One value: of all providers together where `provider` is empty.

    `age` is in seconds, null where nothing is known yet; a `stale` one is of a provider that is late.
    """

    provider: str
    control: str
    usage: int
    limit: int | None
    age: float | None
    stale: bool


class CustomerUsageDocument(BaseModel):
    """What a customer holds; `fresh_within` is for how many seconds at most others may have changed what is told."""

    customer: str
    values: list[UsageValue]
    fresh_within: float


class WriteOrder(BaseModel):
    """A write of so much, in the unit of the control."""

    model_config = STRICT

    customer: Name
    provider: Name
    size: Whole
    control: Annotated[str, Field(max_length=40)] = "bytes"


class WriteAnswerDocument(BaseModel):
    """Whether the write may go on: `granted` of it may now, for `valid_for` seconds; ask again for the rest.

    Wait `delay` seconds before the next write. Where it was refused, `left` is what the quota leaves, and
    `retry_after` in how many seconds to ask again.
    """

    ok: bool
    granted: int
    delay: float
    valid_for: float
    left: int | None = None
    retry_after: float | None = None
    reason: str = ""


class WriteBatch(BaseModel):
    """Many small writes as columns, by position."""

    model_config = STRICT

    customers: Annotated[list[str], Field(max_length=10_000)]
    providers: Annotated[list[str], Field(max_length=10_000)]
    sizes: Annotated[list[Whole], Field(max_length=10_000)]
    control: Annotated[str, Field(max_length=40)] = "bytes"


class RefusedWrite(BaseModel):
    """A write of a batch that may not go on, by its position."""

    position: int
    left: int | None
    retry_after: float
    reason: str


class WriteAnswersDocument(BaseModel):
    """By position what is granted of each write, and how many seconds to wait after it."""

    granted: list[int]
    delays: list[float]
    refused: list[RefusedWrite]
    valid_for: float


class DeletedAnswer(BaseModel):
    """How much of what was deleted may be written again."""

    given_back: int


class AuditDocument(BaseModel):
    """One change: who made it, when (seconds since the epoch), of what, and why. Null is that there was nothing."""

    number: int
    time: float
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    why: str


class AuditPage(BaseModel):
    """Changes, the newest first. Where there are more, ask again for those `before` the last one's number."""

    entries: list[AuditDocument]


class StatusDocument(BaseModel):
    """How this server is: whether the database is there, and how old at most what it has in memory is.

    `held` is how many of the customers are in memory.
    """

    status: str
    detail: str
    fresh_within: float | None
    customers: int
    held: int
    providers: int
    servers: int
    version: str
