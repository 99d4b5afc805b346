"""How others ask the limiter: Envoy over gRPC, gateways over HTTP."""
