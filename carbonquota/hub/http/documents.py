"""The documents of the HTTP API; their docstrings are part of it, as OpenAPI shows them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from carbonquota.hub.domain.controls import Amounts
from carbonquota.hub.domain.names import PATTERN
from carbonquota.hub.domain.values import Quota
from carbonquota.model import MAXIMUM

Name = Annotated[str, Field(pattern=PATTERN)]
Whole = Annotated[int, Field(ge=0, le=MAXIMUM)]
Why = Annotated[str, Field(max_length=1000, description="For the audit")]

STRICT: Final = ConfigDict(extra="forbid")


class Limits(BaseModel):
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

    limits: Limits
    why: Why = ""


class QuotaDocument(BaseModel):
    """A quota in force: over all providers where `provider` is empty. `version` is also the ETag."""

    customer: str
    provider: str
    limits: Limits
    version: int


class QuotaList(BaseModel):
    """Quotas of one customer."""

    quotas: list[QuotaDocument]


class Changed(BaseModel):
    """What was changed is this version now."""

    version: int


def quota_document(quota: Quota) -> QuotaDocument:
    """A quota as a document."""
    limits = Limits.model_validate(dict(quota.limits.given()))
    return QuotaDocument(customer=quota.customer, provider=quota.provider, limits=limits, version=quota.change)
