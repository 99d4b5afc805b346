"""Who may know of whom: the one place where that is decided for HTTP and gRPC alike."""

from __future__ import annotations

from carbonquota.hub.domain.errors import NotFoundError
from carbonquota.web.access import Identity, Role


def visible_customer(who: Identity, customer: str) -> None:
    """NotFoundError where a customer asks for another; it reads as if there were none of that name."""
    if not who.sees(Role.CUSTOMER, customer):
        raise NotFoundError(f"there is no customer called {customer!r}")


def own_provider(who: Identity, provider: str) -> None:
    """NotFoundError where a provider asks for another."""
    if not who.sees(Role.PROVIDER, provider):
        raise NotFoundError(f"there is no provider called {provider!r}: an administrator makes it")
