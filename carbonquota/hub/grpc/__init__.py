"""The quota service over gRPC, as `proto/carbonquota/hub/v1/hub.proto` describes it."""
