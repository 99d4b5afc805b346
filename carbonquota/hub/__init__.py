"""The quota service: what customers may hold and do hold over a fleet, in one place."""
