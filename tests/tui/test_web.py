"""Who gets at the dashboard in a browser, and what a real one shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from cxrlab.lab import Lab
from cxrlab.runner import process_start
from cxrlab.tui.web import Gate, is_everywhere, is_loopback

Client = TestClient[web.Request, web.Application]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT_MS = 300_000


@pytest.fixture
def links() -> list[str]:
    """The tokens that were told after the first."""
    return []


@pytest.fixture
def gate(links: list[str]) -> Gate:
    # ends with its input, and not before: what hangs is killed
    echo = [sys.executable, "-c", "print('__GANGLION__', flush=True); input()"]
    return Gate(echo, lab="<script>alert(1)</script>", say=links.append)


@pytest.fixture
async def client(gate: Gate) -> AsyncIterator[Client]:
    async with TestClient(TestServer(gate.app())) as client:
        yield client


async def let_in(client: Client, gate: Gate) -> None:
    answer = await client.get("/", params={"token": gate.token})
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/ws", "/page.css", "/static/js/textual.js", "/nothing"])
async def test_nothing_is_served_without_the_link(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert answer.status == 403
    assert "open the link" in await answer.text()


async def test_the_link_works_once_and_the_next_one_is_told(
    client: Client, gate: Gate, links: list[str]
) -> None:
    first = gate.token
    answer = await client.get("/", params={"token": first}, allow_redirects=False)
    assert answer.status == 303
    assert answer.headers["Location"] == "/"
    assert {"HttpOnly", "SameSite=Strict"} <= set(answer.headers["Set-Cookie"].split("; "))
    assert links == [gate.token] != [first]
    again = await client.get("/", params={"token": first})
    assert again.status == 403
    assert (await client.get("/")).status == 200


async def test_a_wrong_link_is_refused(client: Client) -> None:
    for token in ("", "x", "ü", "x" * 100):
        assert (await client.get("/", params={"token": token})).status == 403


async def test_the_name_of_a_lab_is_no_part_of_the_page(client: Client, gate: Gate) -> None:
    await let_in(client, gate)
    page = await (await client.get("/")).text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


async def test_every_answer_forbids_what_the_page_does_not_need(client: Client, gate: Gate) -> None:
    refused = await client.get("/")
    await let_in(client, gate)
    for answer in (refused, await client.get("/"), await client.get("/page.js")):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
async def test_a_name_that_was_made_to_point_here_is_refused(
    client: Client, gate: Gate, host: str
) -> None:
    await let_in(client, gate)
    assert (await client.get("/", headers={"Host": host})).status == 421


async def test_a_tunnel_may_end_at_another_port(client: Client, gate: Gate) -> None:
    await let_in(client, gate)
    page = await (await client.get("/", headers={"Host": "localhost:9000"})).text()
    assert "ws://localhost:9000/ws" in page


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
async def test_another_page_of_the_browser_opens_no_socket(
    client: Client, gate: Gate, origin: str | None
) -> None:
    await let_in(client, gate)
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect("/ws", origin=origin)
    assert refused.value.status == 403


async def test_a_page_that_talks_nonsense_is_hung_up_on(
    client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlab.tui.web.LEAVE_S", 0.5)
    await let_in(client, gate)
    own = str(client.make_url("/"))[:-1]
    socket = await client.ws_connect("/ws", origin=own)
    await socket.send_str("{")
    await socket.receive()
    assert socket.closed


async def test_only_so_many_dashboards_are_open_at_once(
    client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlab.tui.web.MOST", 1)
    await let_in(client, gate)
    own = str(client.make_url("/"))[:-1]
    async with client.ws_connect("/ws", origin=own):
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect("/ws", origin=own)
        assert refused.value.status == 503


def test_which_addresses_others_can_reach() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [
        True
    ] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.7", "gpu7", ""))
    assert is_everywhere("0.0.0.0")
    assert not is_everywhere("gpu7")


def command(lab: Lab, *words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "cxrlab", "--lab", str(lab.root), "tui", *words]


def test_other_machines_are_let_in_only_where_that_was_asked_for(empty_lab: Lab) -> None:
    line = command(empty_lab, "--web", "--host", "0.0.0.0", "--port", "0")
    answer = subprocess.run(line, capture_output=True, text=True, timeout=900)
    assert answer.returncode == 2
    assert "lets other machines in" in answer.stderr
    assert "--allow-remote" in answer.stderr


def test_a_port_that_is_taken_is_said_to_be(empty_lab: Lab, serving: Callable[..., Any]) -> None:
    port = re.findall(r":(\d+)/", serving(empty_lab)[1])[0]
    line = command(empty_lab, "--web", "--port", port)
    answer = subprocess.run(line, capture_output=True, text=True, timeout=900)
    assert answer.returncode == 1
    assert port in answer.stderr
    assert "hint:" in answer.stderr


@pytest.fixture
def serving() -> Iterator[Callable[[Lab], tuple[subprocess.Popen[str], str]]]:
    """Serve a lab; gives the process and its first link."""
    started = []

    def serve(lab: Lab) -> tuple[subprocess.Popen[str], str]:
        environment = {k: v for k, v in os.environ.items() if k != "TEXTUAL_DRIVER"}
        server = subprocess.Popen(
            command(lab, "--web", "--port", "0"),
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        started.append(server)
        assert server.stdout is not None
        return server, server.stdout.readline().strip()

    yield serve
    for server in started:
        server.terminate()
        assert server.wait(60) == 0
        assert server.stdout is not None
        server.stdout.close()


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_a_real_browser_shows_the_dashboard_and_sends_it_keys(
    empty_lab: Lab, serving: Callable[..., Any]
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    server, link = serving(empty_lab)
    seen, asked = [""], []

    def hear(frame: str | bytes) -> None:
        text = frame.decode(errors="replace") if isinstance(frame, bytes) else frame
        seen[0] += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)

    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1200, "height": 700})
        faults: list[str] = []
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: socket.on("framereceived", hear))

        def wait_for(words: str) -> None:
            for _ in range(WAIT_MS // 100):
                if words in seen[0]:
                    return
                page.wait_for_timeout(100)
            raise AssertionError(f"{words!r} was not shown:\n{seen[0][-2000:]}")

        page.goto(link)
        assert "token" not in page.url
        page.wait_for_selector("body.-first-byte", timeout=WAIT_MS)
        wait_for("Nothing has run")
        dashboards = [(pid, process_start(pid)) for pid in children(server.pid)]
        assert dashboards
        seen[0] = ""
        page.wait_for_function(
            "document.activeElement.className.includes('xterm-helper-textarea')", timeout=WAIT_MS
        )
        page.keyboard.press("2")
        wait_for("no run yet")
        page.keyboard.press("q")
        page.wait_for_selector("body.-closed", timeout=WAIT_MS)
        assert faults == []
        assert {url.split("/")[2] for url in asked} == {link.split("/")[2]}, "a stranger was asked"
        for _ in range(WAIT_MS // 100):
            if not any(process_start(pid) == start for pid, start in dashboards):
                break
            page.wait_for_timeout(100)
        assert not any(process_start(pid) == start for pid, start in dashboards)
        chromium.close()
