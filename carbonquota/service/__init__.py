"""What every long-running host of the engine needs, the daemon and the plugin alike.

The rules and their reloading, the state that survives a restart, scans, reports, and the program's own health.
Sockets and sinks are the host's own.
"""
