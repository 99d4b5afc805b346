"""Envoy's RateLimitService over gRPC, on the server that the quota service has, too (`web.grpc`)."""
