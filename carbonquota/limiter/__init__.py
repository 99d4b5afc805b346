"""The rate limiter: requests are points, and the clients of a service are namespaces."""
