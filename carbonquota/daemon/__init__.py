"""The carbon-like daemon: sockets, sinks and the composition of it all. Needs the `daemon` extra."""
