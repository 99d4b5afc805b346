"""The HTTP face: a check for gateways that ask before they pass a request on, and JSON for programs."""
