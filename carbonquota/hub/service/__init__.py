"""What the quota service does, whoever asks for it and however: over HTTP, over gRPC or in process."""
