"""Parameters that several topics have: names in paths, who asks, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from carbonquota.hub.domain.names import PATTERN
from carbonquota.web.access import Identity, Role, require

CustomerName = Annotated[str, Path(pattern=PATTERN)]
ProviderName = Annotated[str, Path(pattern=PATTERN)]

CustomerReader = Annotated[Identity, require(Role.CUSTOMER, Role.OPERATOR)]
"""Customers read their own."""
ProviderWriter = Annotated[Identity, require(Role.PROVIDER)]
"""Providers publish their own, and ask for writers."""
Operator = Annotated[Identity, require(Role.OPERATOR)]
Admin = Annotated[Identity, require(Role.ADMIN)]

Reason = Annotated[str, Query(max_length=1000, description="For the audit")]
Limit = Annotated[int, Query(ge=1, le=1000, description="The most of the answer")]
