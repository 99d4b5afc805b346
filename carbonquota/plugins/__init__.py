"""Quotas inside other people's daemons. Nothing else in the package imports what these are made of."""

from __future__ import annotations
