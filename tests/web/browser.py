"""A browser of a few lines: asks a console as one does, without a socket, and keeps its cookies."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from collegium.web.app import Links

URL = "http://127.0.0.1:8471"


class Browser:
    """`build` makes the application for links that this browser hears of."""

    def __init__(self, build: Callable[[Links], Any]) -> None:
        self.said: list[str] = []
        self.links = Links(self.said.append, URL)
        self.app = build(self.links)
        self.links.new()
        self.jar = httpx.Cookies()

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=URL, cookies=self.jar) as client:
                found = await client.request(method, path, **how)
                self.jar = client.cookies
                return found

        return asyncio.run(asked())

    def enter(self) -> httpx.Response:
        return self.ask("GET", self.said[-1])

    def form(self, **fields: Any) -> bytes:
        """A form of a page that this browser was shown."""
        return str(httpx.QueryParams({"token": self.links.token, **fields})).encode()

    def send(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form, and see the page that it leads to."""
        found = self.ask("POST", path, content=self.form(**fields))
        return self.ask("GET", found.headers["location"]) if found.status_code == 303 else found

    def see(self, path: str) -> str:
        """A page's text."""
        found = self.ask("GET", path)
        assert found.status_code == 200, found.text
        return found.text
