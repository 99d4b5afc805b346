"""What programs ask the services through: the quota service and the rate limiter, over HTTP and gRPC."""
