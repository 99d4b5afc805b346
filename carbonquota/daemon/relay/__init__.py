"""The sink that passes accepted points on to another carbon, over plaintext TCP, and loses none on the way.

A point's way, oldest to newest: the *window* (sent, may have to go again), the *outbox* (next to be sent), the
*spool* (on disk), the *memory queue* (came last). Points only ever move from right to left, so their order holds.
"""

from carbonquota.daemon.relay.sink import RelaySink, Tuning

__all__ = ["RelaySink", "Tuning"]
