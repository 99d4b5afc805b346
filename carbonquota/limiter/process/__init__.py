"""The limiter as a process: `carbonquota limit`."""
