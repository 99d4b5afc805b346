"""gRPC on a process's own event loop: HTTP/2 in frames of our own, unary calls, and streams of messages from clients.

The usual gRPC server hands each call to a thread or a task of its own, which costs many times what our decisions do.
Here all calls that one read of a socket brought are answered by one write.
"""
