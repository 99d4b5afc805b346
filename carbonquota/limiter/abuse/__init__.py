"""What is seen of abuse, and done about it: counts, offenders, bans, brownout."""

from __future__ import annotations

from carbonquota.limiter.abuse.bans import Ban, BanEvent, Bans
from carbonquota.limiter.abuse.brownout import Brownout, Dimming
from carbonquota.limiter.abuse.counts import Counts
from carbonquota.limiter.abuse.offenders import Offender, Offenders

__all__ = ["Ban", "BanEvent", "Bans", "Brownout", "Counts", "Dimming", "Offender", "Offenders"]
