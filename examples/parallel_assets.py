"""A page and what belongs to it, loaded as a browser does: the assets at the same time, over up to six connections.

What the person at the browser waits for is the whole page, so that is recorded, too, as a row of its own.
"""

from __future__ import annotations

import asyncio
import re
import time

from gaggle import User, between, task


class Browser(User):
    wait_time = between(0.1, 0.5)

    @task
    async def front_page(self) -> None:
        began = time.monotonic()
        page = await self.get("/")
        sources = re.findall(r'src="(.*?)"', page.text)
        assets = await asyncio.gather(*(self.get(source, name="asset") for source in sources))
        failed = [asset.url for asset in (page, *assets) if not asset.ok]
        self.record("PAGE", "/", time.monotonic() - began, error=f"{failed[0]} failed" if failed else None)
