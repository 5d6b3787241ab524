"""Tasks in order: a visitor signs in, opens an article, comments on it, and finds the comment there.

Tasks of a `@sequence` class run as they stand here, again and again; what one leaves on `self` the next one finds. With
`session = "pass"` each time around is a new visitor, without cookies. Which articles are commented on is settled once,
for all users on all machines: what `@test_start` returns is `self.shared`.
"""

from __future__ import annotations

import random
import re

from gaggle import Response, User, between, sequence, task, test_start


@test_start
async def choose_articles() -> list[int]:
    return random.sample(range(1, 10_000), 20)


@sequence
class Commenter(User):
    session = "pass"
    wait_time = between(0, 0.1)

    @task
    async def sign_in(self) -> None:
        form = hidden_fields(await self.get("/user"))
        account = {"name": f"user{self.random.randint(2, 5_001)}", "pass": "12345"}
        response = await self.post("/user", data=form | account)
        if "/user/" not in response.url:
            response.fail("not signed in")

    @task
    async def open_article(self) -> None:
        self.article = self.random.choice(self.shared)
        self.form = hidden_fields(await self.get("/node/{id}", id=self.article))

    @task
    async def comment(self) -> None:
        self.text = f"comment {self.random.getrandbits(32):08x} of visitor {self.number}"
        comment = {"subject": "Honk", "comment_body[und][0][value]": self.text}
        response = await self.post("/comment/reply/{id}", id=self.article, data=self.form | comment)
        response.raise_for_status()

    @task
    async def find_comment(self) -> None:
        page = await self.get("/node/{id}", id=self.article)
        if self.text not in page.text:
            page.fail("the comment is not there")


def hidden_fields(page: Response) -> dict[str, str]:
    """Return the hidden fields of the form on the page, which have to be sent back."""
    return dict(re.findall(r'<input type="hidden" name="(.*?)" value="(.*?)">', page.text))
