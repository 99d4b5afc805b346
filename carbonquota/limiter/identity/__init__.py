"""Who asks, and for what: from the head of a request to the descriptors that rules are about. No I/O but key files."""
