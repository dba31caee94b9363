"""A console on this machine: pages behind a one-time link, whole without a script, that load nothing from anywhere else.

    app = build(pages, look, Links(say))         # an ASGI application; `say` gets the address that lets a browser in
    serve(app, port, ready)                      # web.serve

A page is a function from what was asked to what is shown. It may read files and compute: it runs in a thread. Nothing of the
machine's own network can reach the console but browsers on this machine, and of those only the one that was let in: the link
works once, the cookie is no other site's, and a form carries a token that no other page can know.
"""

import base64
import hashlib
import hmac
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.cookies import CookieError, SimpleCookie
from importlib import resources
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collegium.errors import CollegiumError, NotFound
from collegium.study.report.page import template

FORM_BYTES = 1 << 16
COOKIE = "collegium-console"
OPEN = ("/enter", "/look.css")
HERE = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}  # fmt: skip


class Ask(NamedTuple):
    """What a browser asked for: parts of the path, of the query, and the fields of a form (the last of each name)."""

    parts: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    many: Mapping[str, Sequence[str]]  # every value of a form's fields


class Shown(NamedTuple):
    """A page: its template and what that is told."""

    template: str
    facts: Mapping[str, Any]
    status: int = 200


class Go(NamedTuple):
    """On to another page, with a word about what was done."""

    to: str
    done: str = ""


class File(NamedTuple):
    """Bytes to keep."""

    name: str
    body: bytes
    kind: str = "text/csv; charset=utf-8"


Answer: TypeAlias = Shown | Go | File
Page: TypeAlias = Callable[[Ask], Answer]


class Look(NamedTuple):
    """What stands around every page of a console."""

    title: str
    stripe: str  # the sentence that says at all times where one is
    menu: Sequence[tuple[str, str]]  # (address, word)
    templates: str  # the package whose `templates` hold the pages
    counts: Callable[[], Mapping[str, int]] = dict  # how many things wait, by the address in the menu


@dataclass
class Links:
    """Who is let in: whoever brings the newest link, once. `say` is told each new one."""

    say: Callable[[str], object]
    address: str = ""
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    link: str = ""

    def new(self) -> None:
        """Make a link that works once, and say it."""
        self.link = secrets.token_urlsafe(24)
        self.say(f"{self.address}/enter?{urlencode({'link': self.link})}")

    def enter(self, link: str) -> bool:
        """Whether this is the link; it never is again."""
        if not self.link or not hmac.compare_digest(self.link.encode(), link.encode()):
            return False
        self.new()
        return True

    def known(self, cookie: str) -> bool:
        """Whether a cookie is that of a browser that was let in."""
        return hmac.compare_digest(self.session.encode(), cookie.encode())

    @property
    def token(self) -> str:
        """What every form carries."""
        return hmac.new(self.session.encode(), b"form", hashlib.sha256).hexdigest()


def build(pages: Mapping[tuple[str, str], Page], look: Look, links: Links) -> ASGIApp:
    """The application: `pages` by method and path, such as `("GET", "/models/{run}")`."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(look.templates), jinja2.PackageLoader("collegium.web")]),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    show = partial(rendered, environment, look, links)
    routes = [Route("/enter", partial(entered, links, show))]
    routes += [Route(path, partial(answered, page, links, show), methods=[method]) for (method, path), page in pages.items()]
    routes.append(Route("/look.css", styled))
    routes.append(Route("/static/{name}", static))
    app = Starlette(routes=routes, exception_handlers={404: partial(missing, show), 405: partial(missing, show)})
    return Guard(app, links, show)


Show: TypeAlias = Callable[[Request, Shown], Response]


def rendered(environment: jinja2.Environment, look: Look, links: Links, request: Request, shown: Shown) -> Response:
    """A page as a response; one that has not changed since the browser last asked is not sent again."""
    here = request.url.path
    current = next((address for address, _ in reversed(look.menu) if here == address or here.startswith(f"{address.rstrip('/')}/")), "")
    around: dict[str, Any] = {
        "look": look,
        "here": here,
        "current": current,
        "token": links.token,
        "done": request.query_params.get("done", ""),
    }
    around["counts"] = defaultdict(int, look.counts())
    text = environment.get_template(shown.template).render({**around, **shown.facts}).encode()
    tag = f'"{base64.urlsafe_b64encode(hashlib.sha256(text).digest()[:18]).decode()}"'
    if shown.status == 200 and request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    return Response(text, shown.status, {"etag": tag}, "text/html; charset=utf-8")


async def entered(links: Links, show: Show, request: Request) -> Response:
    """Let a browser in that brings the link."""
    if not links.enter(request.query_params.get("link", "")):
        return await run_in_threadpool(show, request, outside("This link was used before, or is not the newest one."))
    found = RedirectResponse("/", 303)
    found.set_cookie(COOKIE, links.session, httponly=True, samesite="strict", path="/")
    return found


async def styled(_: Request) -> Response:
    """The look of our reports, which every page shares."""
    return Response(template("report.css").render(), media_type="text/css")


STATIC = {"app.css": "text/css", "live.js": "text/javascript"}


async def static(request: Request) -> Response:
    """One of the few files that pages load."""
    name = request.path_params["name"]
    if name not in STATIC:
        return PlainTextResponse("There is no such file.", 404)
    return Response((resources.files("collegium.web") / "static" / name).read_bytes(), media_type=STATIC[name])


def outside(says: str) -> Shown:
    """The page of a browser that was not let in."""
    return Shown("outside.html", {"says": says}, 403)


async def answered(page: Page, links: Links, show: Show, request: Request) -> Response:
    """A page's answer; what went wrong becomes a page too, which says what happened and what to do."""
    form: list[tuple[str, str]] = []
    if request.method == "POST":
        body = await limited(request)
        form = parse_qsl(body.decode("utf8", "replace"), keep_blank_values=True) if body is not None else []
        if body is None or not hmac.compare_digest(dict(form).get("token", "").encode(), links.token.encode()):
            return await run_in_threadpool(show, request, refused(body))
    every = parse_qs(urlencode(form), keep_blank_values=True)
    ask = Ask({k: str(v) for k, v in request.path_params.items()}, dict(request.query_params), dict(form), every)
    try:
        found = await run_in_threadpool(page, ask)
    except CollegiumError as e:
        return await run_in_threadpool(show, request, trouble(e))
    match found:
        case Go(to, done):
            return RedirectResponse(f"{to}?{urlencode({'done': done})}" if done else to, 303)
        case File(name, body, kind):
            return Response(body, headers={"content-disposition": f'attachment; filename="{name}"'}, media_type=kind)
        case _:
            return await run_in_threadpool(show, request, found)


def refused(body: bytes | None) -> Shown:
    """The page for a form that cannot be taken."""
    why = "The form is too large." if body is None else "This form was opened before the console was started again."
    return Shown(
        "trouble.html", {"title": "Nothing was changed", "says": why, "hint": "Go back, load the page again, and send it once more."}, 400
    )


def trouble(error: CollegiumError) -> Shown:
    """The page for an error, in its own words."""
    gone = isinstance(error, NotFound)
    title = "This is not here" if gone else "That did not work"
    return Shown("trouble.html", {"title": title, "says": str(error), "hint": error.hint}, 404 if gone else 409)


async def limited(request: Request) -> bytes | None:
    """A form's bytes; None for more than a form has."""
    out = b""
    async for piece in request.stream():
        out += piece
        if len(out) > FORM_BYTES:
            return None
    return out


async def missing(show: Show, request: Request, error: Exception) -> Response:
    """A page that does not exist."""
    facts = {"title": "There is no such page", "says": f"Nothing is at {request.url.path}.", "hint": "Use the menu above."}
    return await run_in_threadpool(show, request, Shown("trouble.html", facts, int(getattr(error, "status_code", 404))))


class Guard:
    """What stands before every page: the right host, a browser that was let in, forms from here alone, and the headers."""

    def __init__(self, app: ASGIApp, links: Links, show: Show) -> None:
        self.app, self.links, self.show = app, links, show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = [(name, value) for name, value in message["headers"] if name.decode("latin-1").lower() not in HEADERS]
                message["headers"] = [*known, *((name.encode(), value.encode()) for name, value in HEADERS.items())]
            await send(message)

        request = Request(scope)
        response = await self.stopped(request)
        await (response or self.app)(scope, receive, guarded)

    async def stopped(self, request: Request) -> Response | None:
        """The answer to a request that may go no further."""
        host = request.headers.get("host", "")
        if host.rsplit(":", 1)[0] not in HERE:  # a name that another site has made point here
            return PlainTextResponse("This console answers to 127.0.0.1 and localhost alone.", 421)
        origin = request.headers.get("origin", "")
        if request.method not in ("GET", "HEAD") and origin and urlsplit(origin).netloc != host:
            return PlainTextResponse("A form of another site is not taken.", 403)
        if request.url.path in OPEN or request.url.path.startswith("/static/") or self.links.known(cookie(request)):
            return None
        says = "This browser has not been let in yet."
        return await run_in_threadpool(self.show, request, outside(says))


def cookie(request: Request) -> str:
    """The console's cookie; other programs on this machine may have set others for this host."""
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
