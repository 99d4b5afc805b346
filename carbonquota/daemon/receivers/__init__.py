"""What comes in over the network: plaintext over TCP and UDP, pickles over TCP, on IPv4 and IPv6."""

from carbonquota.daemon.receivers.receivers import Receivers

__all__ = ["Receivers"]
