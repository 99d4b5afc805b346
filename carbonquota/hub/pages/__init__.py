"""The quota service in a browser: the fleet, a customer's own page, and rules from a draft to their release."""

from carbonquota.hub.pages.routes import make_pages, make_router

__all__ = ["make_pages", "make_router"]
