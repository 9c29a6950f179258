"""Who may open the dashboard in a browser, and how does it get there?

Textual's own server carries the screen; this file decides who sees it. A page that can stop and
remove runs is dangerous in three ways, and each has its guard: somebody else on the machine (a link
that works once, then a cookie), a page in the same browser (`Origin`, `SameSite`), and a name that
somebody makes point here (`Host`).
"""

from __future__ import annotations

import asyncio
import html
import ipaddress
import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

import textual_serve
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from cxrlab import text
from cxrlab.errors import CxrlabError, Usage

PORT = 8765
TRIES = 20
"""So many ports from the first one on are tried where none is asked for."""

MOST = 8
"""So many dashboards may be open at once; each is a process."""

LEAVE_S = 5.0
"""How long a dashboard whose page was closed may take to end."""

COOKIE = "cxrlab"
HERE = Path(__file__).parent
STATIC = Path(textual_serve.__file__).parent / "static"

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        # xterm.js sets styles of its own elements; nothing else is written into the page
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # or a link in a note would carry the token away
    "X-Content-Type-Options": "nosniff",
}

log = logging.getLogger(__name__)


class Session(AppService):
    """One page's dashboard, a process of its own."""

    def __init__(self, arguments: Sequence[str], socket: web.WebSocketResponse) -> None:
        super().__init__(
            "",
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=self._close,
            download_manager=DownloadManager(),
        )
        self._socket = socket
        self._arguments = list(arguments)

    async def _close(self) -> None:
        await self._socket.close()

    async def _open_app_process(
        self, width: int = 80, height: int = 24
    ) -> asyncio.subprocess.Process:
        """Start the dashboard from a list; the base class would hand a line to a shell."""
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._build_environment(width=width, height=height),
        )
        self._stdin = self._process.stdin
        return self._process

    async def stop(self) -> None:
        """Ask the dashboard to end, and kill it where it hangs; what runs goes on running."""
        process = self._process
        ending: list[asyncio.Future[object]] = [asyncio.ensure_future(super().stop())]
        if process is not None:
            ending.append(asyncio.ensure_future(process.wait()))
        # not `wait_for`: the base class swallows the cancelling, and would be waited for for ever
        await asyncio.wait(ending, timeout=LEAVE_S)
        if process is not None and process.returncode is None:
            process.kill()
            await asyncio.wait(ending, timeout=LEAVE_S)


class Gate:
    """The dashboards of one lab, and who may open one."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        lab: str,
        hosts: Sequence[str] = (),
        say: Callable[[str], None],
    ) -> None:
        """Take what every dashboard is started with.

        Args:
            arguments: the command of a dashboard.
            lab: its name, for the page's title.
            hosts: names this machine may be called by beside those of the loopback.
            say: is told the link that works next.
        """
        self.arguments = arguments
        self.lab = lab
        self.hosts = {host.lower().strip("[]") for host in hosts}
        self.say = say
        self.token = secrets.token_urlsafe(32)
        self._cookies: set[str] = set()
        self._open = 0

    def app(self) -> web.Application:
        """Return the web application."""
        app = web.Application(middlewares=[self.guard])
        app.add_routes(
            [
                web.get("/", self.page),
                web.get("/page.{kind:css|js}", self.part),
                web.get("/ws", self.dashboard),
                web.static("/static", STATIC),
            ]
        )
        return app

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let through whom the cookie or the link lets through; send the same headers to all."""
        if not self.known(request.host):
            response: web.StreamResponse = refusal(421, "this dashboard has another address")
        elif (given := request.query.get("token")) is not None:
            response = self.exchange(given, request)
        elif not self.admitted(request):
            response = refusal(403, "open the link that `cxrlab tui --web` printed last")
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = refusal(error.status, error.reason)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def known(self, host: str) -> bool:
        """Say whether a request's `Host` is a name of this machine, whatever the port."""
        name = (urlsplit(f"//{host}").hostname or "").lower()
        return name in self.hosts or is_loopback(name)

    def exchange(self, token: str, request: web.Request) -> web.StreamResponse:
        """Give a cookie for the token, once, and make the next one."""
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return refusal(403, "this link has been used, or never was one")
        self.token = secrets.token_urlsafe(32)
        cookie = secrets.token_urlsafe(32)
        self._cookies.add(cookie)
        self.say(self.token)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            f"{COOKIE}-{port_of(request)}", cookie, httponly=True, samesite="Strict"
        )
        return response

    def admitted(self, request: web.Request) -> bool:
        """Say whether a request carries a cookie of ours, and comes from our own page."""
        cookie = request.cookies.get(f"{COOKIE}-{port_of(request)}", "")
        origin = request.headers.get("Origin")
        own = origin is None or urlsplit(origin).netloc == request.host
        if request.path == "/ws" and origin is None:
            own = False  # a browser always says where a socket is opened from
        return own and any(secrets.compare_digest(cookie, each) for each in self._cookies)

    async def page(self, request: web.Request) -> web.Response:
        """Return the one page, which opens the socket."""
        size = request.query.get("fontsize", "16")
        text = Template((HERE / "web.html").read_text(encoding="utf-8")).substitute(
            lab=html.escape(self.lab),
            socket=html.escape(f"ws://{request.host}/ws"),
            font_size=size if size.isdecimal() and len(size) < 3 else "16",
        )
        return web.Response(text=text, content_type="text/html")

    async def part(self, request: web.Request) -> web.FileResponse:
        """Return the page's style sheet, or its script."""
        return web.FileResponse(HERE / f"web.{request.match_info['kind']}")

    async def dashboard(self, request: web.Request) -> web.StreamResponse:
        """Carry keys to a dashboard and its screen back, until either end closes."""
        if self._open >= MOST:
            return refusal(503, f"{MOST} dashboards are open already; close one")
        page = web.WebSocketResponse(heartbeat=15, max_msg_size=2**20)
        await page.prepare(request)
        session = Session(self.arguments, page)
        self._open += 1
        try:
            await session.start(_cells(request, "width", 80), _cells(request, "height", 24))
            async for message in page:
                if message.type == WSMsgType.TEXT:
                    await pass_on(message.json(), session, page)
        except (ValueError, TypeError, LookupError) as error:
            log.warning("a page sent what no page sends: %r", error)
        finally:
            self._open -= 1
            await session.stop()
        return page


async def pass_on(envelope: list[object], session: Session, page: web.WebSocketResponse) -> None:
    """Hand one message of the page to its dashboard, as textual.js spells them."""
    match envelope:
        case ["stdin", str(keys)]:
            await session.send_bytes(keys.encode())
        case ["resize", {"width": int(width), "height": int(height)}]:
            await session.set_terminal_size(min(width, 1000), min(height, 1000))
        case ["ping", data]:
            await page.send_json(["pong", data])
        case ["blur"]:
            await session.blur()
        case ["focus"]:
            await session.focus()


def refusal(status: int, why: str) -> web.Response:
    """Return a page that says in words why there is no other."""
    return web.Response(status=status, text=f"cxrlab: {why}\n")


def is_loopback(host: str) -> bool:
    """Say whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_everywhere(host: str) -> bool:
    """Say whether an address means every address of this machine, and can be typed by nobody."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def port_of(request: web.Request) -> int:
    """Return the port of our own; cookies do not know of ports, and labs must not share one."""
    transport = request.transport
    name = transport.get_extra_info("sockname") if transport else None
    return int(name[1]) if name else 0


def _cells(request: web.Request, name: str, default: int) -> int:
    given = text.whole(request.query.get(name, ""))
    return min(given, 1000) if given else default


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens, on the first free port from `PORT` on where none is asked for.

    Raises:
        CxrlabError: the address or the port cannot be had.
    """
    ports = range(PORT, PORT + TRIES) if port is None else (port,)
    trouble: OSError | None = None
    for each in ports:
        try:
            family = socket.getaddrinfo(host, each, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, each), family=family)
        except OSError as error:
            trouble = error
    reason = (trouble.strerror if trouble else "") or str(trouble)
    raise CxrlabError(
        f"nothing can be served on {host} port {ports[0]}: {reason}",
        "`--port 0` takes any free one",
    )


def check(host: str, *, remote: bool) -> None:
    """Refuse an address that others can reach, unless that was asked for.

    Raises:
        Usage: it was not.
    """
    if not is_loopback(host) and not remote:
        raise Usage(
            f"`--host {host}` lets other machines in, over a line that anybody on it can read: who "
            "has the link can launch, stop and remove runs, and see restricted images",
            "`ssh -L 8765:127.0.0.1:8765 THIS_MACHINE` is the safe way; `--allow-remote` serves it",
        )


def serve(gate: Gate, listening: socket.socket) -> None:
    """Serve until interrupted; every dashboard ends with it, and no run does."""
    web.run_app(gate.app(), sock=listening, print=None, access_log=None, shutdown_timeout=2.0)
