"""What the quota service is about: customers, providers, limits, usage, grants. Pure: no clock, no database."""
