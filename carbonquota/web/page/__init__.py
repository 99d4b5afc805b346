"""Pages for people: templates, static files, charts, and the explorer of what namespaces hold.

Everything works without JavaScript: pages are made whole by the server, links and forms do the rest. htmx and uPlot,
where they were put in at the build, update parts of pages and make charts that can be pointed at.
"""

from carbonquota.web.page.explorer import Explorer
from carbonquota.web.page.site import NavigationEntry, Pages, Site
from carbonquota.web.page.usage_source import Pressing, SourceStatus, UsageSource

__all__ = ["Explorer", "NavigationEntry", "Pages", "Pressing", "Site", "SourceStatus", "UsageSource"]
