"""Envoy's RateLimitService over gRPC, on the process's own event loop.

The usual gRPC server hands each call to a thread or a task of its own, which costs many times what the decision does.
Here all calls that one read of a socket brought are answered by one write.
"""
