"""Anonymous and signed-in visitors of a Drupal 7 site: the load test of its memcache module, as Goose runs it.

The site needs generated content: nodes 1 to 9,999, and users user2 to user5001 with the password 12345.
`demo_site.py` is such a site:

    python examples/demo_site.py --run gaggle examples/drupal_loadtest.py --host {host} --users 8 --run-time 10s
"""

from __future__ import annotations

import re

from gaggle import Response, User, on_start, task

COMMENT = "this is a test comment body"


class AnonBrowsingUser(User):
    """Looks around."""

    weight = 4

    @task(15, name="(Anon) front page")
    async def front_page(self) -> None:
        await load_front_page(self)

    @task(10, name="(Anon) node page")
    async def node_page(self) -> None:
        await load_node(self)

    @task(3, name="(Anon) user page")
    async def user_page(self) -> None:
        await load_profile(self)


class AuthBrowsingUser(User):
    """Signs in, looks around, and comments."""

    weight = 1

    @on_start(name="(Auth) login")
    async def log_in(self) -> None:
        page = await self.get("/user")
        if page.error:
            page.fail(f"login: no response from server: {page.error}")
            return
        form_build_id = form_value(page, "form_build_id")
        if form_build_id is None:
            page.fail("login: no form_build_id on page: /user page")
            return
        await self.post(
            "/user",
            data={
                "name": f"user{self.random.randint(3, 5_001)}",
                "pass": "12345",
                "form_build_id": form_build_id,
                "form_id": "user_login",
                "op": "Log+in",
            },
        )

    @task(15, name="(Auth) front page")
    async def front_page(self) -> None:
        await load_front_page(self)

    @task(10, name="(Auth) node page")
    async def node_page(self) -> None:
        await load_node(self)

    @task(3, name="(Auth) user page")
    async def user_page(self) -> None:
        await load_profile(self)

    @task(3, name="(Auth) comment form")
    async def post_comment(self) -> None:
        nid = self.random.randint(1, 9_999)
        page = await self.get(f"/node/{nid}")
        if page.error:
            page.fail(f"post_comment: no response when loading /node/{nid}: {page.error}")
            return
        form = {name: form_value(page, name) for name in ("form_build_id", "form_token", "form_id")}
        missing = [name for name, value in form.items() if value is None]
        if missing:
            page.fail(f"post_comment: no {missing[0]} found on /node/{nid}")
            return
        form["subject"] = "this is a test comment subject"
        form["comment_body[und][0][value]"] = COMMENT
        form["comment_body[und][0][format]"] = "filtered_html"
        form["op"] = "Save"
        shown = await self.post(f"/comment/reply/{nid}", data=form)
        if shown.error:
            shown.fail(f"post_comment: no response when posting to /comment/reply/{nid}: {shown.error}")
        elif COMMENT not in shown.text:
            shown.fail(f"post_comment: no comment showed up after posting to /comment/reply/{nid}")


async def load_front_page(user: User) -> None:
    """Load the front page and, one after the other, the static assets that it names."""
    page = await user.get("/")
    if page.error:
        page.fail(f"front_page: no response from server: {page.error}")
        return
    for source in re.findall(r'src="(.*?)"', page.text):
        if "/misc" in source or "/themes" in source:
            await user.get(source, name="static asset")


async def load_node(user: User) -> None:
    await user.get(f"/node/{user.random.randint(1, 9_999)}")


async def load_profile(user: User) -> None:
    await user.get(f"/user/{user.random.randint(2, 5_000)}")


def form_value(page: Response, name: str) -> str | None:
    """Return the value of the hidden field `name`, None if the page has no such field."""
    found = re.search(rf"""name="{name}" value=['"](.*?)['"]""", page.text)
    return found[1] if found else None
