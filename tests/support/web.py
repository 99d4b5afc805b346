"""A small application with an endpoint for each rule of access, and keys that JWTs are signed by."""

from __future__ import annotations

import json
from typing import Annotated, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import FastAPI
from starlette.types import ASGIApp, Scope

from carbonquota.web.access import PUBLIC, Identity, Role, require
from carbonquota.web.authentication import Authentication, Authenticator, Authenticators
from carbonquota.web.failed_logins import FailedLogins
from carbonquota.web.login import Login
from carbonquota.web.openapi import finish_openapi
from carbonquota.web.problems import add_problem_handlers
from carbonquota.web.sessions import Sessions


class ManualClock:
    """Goes on when it is told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def nobody(_: Scope) -> Identity | None:
    """Whoever comes without a token is not known."""
    return None


def endpoints() -> FastAPI:
    """An endpoint for each role."""
    app = FastAPI()
    add_problem_handlers(app)

    def who(identity: Identity) -> dict[str, str]:
        return {"name": identity.name, "role": identity.role.value, "subject": identity.subject}

    @app.get("/public", openapi_extra=PUBLIC)
    def public() -> dict[str, str]:
        return {}

    @app.get("/customer")
    def customer(identity: Annotated[Identity, require(Role.CUSTOMER)]) -> dict[str, str]:
        return who(identity)

    @app.get("/operator")
    def operator(identity: Annotated[Identity, require(Role.OPERATOR)]) -> dict[str, str]:
        return who(identity)

    @app.post("/admin")
    def admin(identity: Annotated[Identity, require(Role.ADMIN)]) -> dict[str, str]:
        return who(identity)

    finish_openapi(app)
    return app


def guarded(*kinds: Authenticator, clock: ManualClock, sessions: Sessions | None = None) -> ASGIApp:
    """The same behind an authentication, with sessions if there are any."""
    app = endpoints()
    authenticators = Authenticators(kinds, clock=clock, wall=clock)
    failures = FailedLogins(clock)
    if sessions:
        app.include_router(Login(sessions, authenticators, failures).router())
    return Authentication(app, authenticators, nobody, failures, sessions)


def bearer(token: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {token}"}


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_set(**keys: Any) -> str:  # noqa: ANN401 - private keys of two kinds
    """The JWKS of the public parts, by the ids of the keys."""
    entries = []
    for number, key in keys.items():
        algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        entries.append(json.loads(algorithm.to_jwk(key.public_key())) | {"kid": number})
    return json.dumps({"keys": entries})


def rule_of_access(operation: dict[str, Any]) -> frozenset[Role] | None:
    """The roles that may use an operation of an OpenAPI document, None for everybody; LookupError without a rule."""
    try:
        security = operation["security"]
    except KeyError:
        raise LookupError(f"the operation has no rule of access: {operation.get('summary')}") from None
    return frozenset(Role(scope) for one in security for scope in one["token"]) if security else None
