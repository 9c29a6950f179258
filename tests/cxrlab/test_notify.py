from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import agent, cli, notify
from cxrlab.errors import Usage
from cxrlab.lab import Lab, find_lab
from cxrlab.settings import Place
from store import runs

WORD = notify.Word(
    "✗ failed: mrm siim 10 % seed 0", "abcdef in lab\nwhy", "failed", {"id": "abcdef"}
)


class Listener:
    """A web server on this machine that keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.got.append((dict(self.headers), body))
                self.send_response(listener.statuses.pop(0) if listener.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret"


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


class MailBox(socketserver.StreamRequestHandler):
    """As much of an SMTP server as takes one letter."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        letters: list[bytes] = self.server.letters  # type: ignore[attr-defined]
        while line := self.rfile.readline():
            word = line.strip().upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                letter = b""
                while (line := self.rfile.readline()) != b".\r\n":
                    letter += line
                letters.append(letter)
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")


@pytest.fixture
def letters() -> Iterator[tuple[str, list[bytes]]]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailBox)
    server.letters = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}", server.letters  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("slack", ("text",)),
        ("feishu", ("content", "text")),
        ("dingtalk", ("text", "content")),
        ("json", ("title",)),
    ],
)
def test_each_form_holds_the_words_where_its_readers_look(
    listener: Listener, form: str, path: tuple[str, ...]
) -> None:
    notify.tell(Place("team", form, url_env="HOOK"), WORD, {"HOOK": listener.url})
    said: Any = json.loads(listener.got[0][1])
    for key in path:
        said = said[key]
    assert said.startswith(WORD.title)
    assert "mrm siim 10 %" in said


def test_ntfy_gets_title_and_urgency_in_the_headers(listener: Listener) -> None:
    notify.tell(Place("phone", "ntfy", url_env="HOOK"), WORD, {"HOOK": listener.url})
    headers, body = listener.got[0]
    assert headers["Title"].startswith("=?utf-8?")
    assert headers["Priority"] == "high"
    assert body.decode() == WORD.body


def test_a_letter_goes_by_smtp(letters: tuple[str, list[bytes]]) -> None:
    server, got = letters
    notify.tell(Place("mail", "email", to="a@b.c", sender="d@e.f", server=server), WORD, {})
    assert b"To: a@b.c" in got[0]
    assert b"abcdef in lab" in got[0]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "the environment variable `HOOK` is not set"),
        ({"HOOK": "file:///etc/passwd"}, "holds no http address"),
        ({"HOOK": "http://127.0.0.1:9/hidden-token"}, "cannot be reached"),
    ],
)
def test_what_goes_wrong_is_said_without_the_secret(environment: dict[str, str], said: str) -> None:
    with pytest.raises(notify.NotTold, match=said) as caught:
        notify.tell(Place("team", "slack", url_env="HOOK"), WORD, environment)
    assert "hidden-token" not in f"{caught.value} {caught.value.hint}"


def test_a_refusal_is_told_with_its_number(listener: Listener) -> None:
    listener.statuses = [403]
    with pytest.raises(notify.NotTold, match="`team` answered 403"):
        notify.tell(Place("team", "slack", url_env="HOOK"), WORD, {"HOOK": listener.url})


@pytest.fixture
def told_lab(lab: Lab, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("HOOK", listener.url)
    monkeypatch.setattr(agent, "SEND_AGAIN_S", (0.01, 0.01))
    place = '\n[notify]\non = ["failed"]\n[notify.team]\nform = "json"\nurl_env = "HOOK"\n'
    lab.settings_file.write_text(lab.settings_file.read_text() + place)
    return find_lab(lab.root)


def test_the_agent_tells_of_each_end_once_and_only_of_those_asked_for(
    told_lab: Lab, db: Any, new_run: Any, listener: Listener, wait_until: Any
) -> None:
    failed, done, never_started = new_run(), new_run(), new_run()
    for run, state in ((failed, "failed"), (done, "succeeded")):
        runs.change_state(db, run.id, "running")
        runs.start_attempt(db, run.id, 1.0)
        runs.change_state(db, run.id, state, reason="as the test wants it")
    runs.change_state(db, never_started.id, "failed")
    listener.statuses = [503]  # and told again
    working = agent.Agent(told_lab, idle_s=1.0)
    for _ in range(3):
        working.one_pass()
    wait_until(lambda: len(listener.got) == 2 and not any(t.is_alive() for t in working.tellers))
    said = json.loads(listener.got[1][1])
    assert said["run"]["id"] == failed.id
    assert "as the test wants it" in said["body"]
    assert f"cxrlab logs {failed.id}" in said["body"]


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])


def test_notify_tries_every_place(told_lab: Lab, listener: Listener) -> None:
    assert invoke(told_lab, "notify").exit_code == 0
    assert len(listener.got) == 1
    listener.statuses = [500]
    result = invoke(told_lab, "notify", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["problem"] == "`team` answered 500 Internal Server Error"


def test_a_lab_that_names_nobody_says_how(lab: Lab) -> None:
    result = invoke(lab, "notify")
    assert result.exit_code == 2
    assert "[notify.team]" in result.stderr


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('[notify]\non = ["ended"]', "names `ended`"),
        ('[notify.a]\nform = "pigeon"', "expected one of ntfy"),
        ('[notify.a]\nform = "slack"', "needs `url_env`"),
        ('[notify.a]\nform = "slack"\nurl = "http://x"', "`notify.a.url` is no setting"),
        ('[notify.a]\nform = "email"\nto = "x"\nserver = "y"', "needs `sender`"),
    ],
)
def test_settings_that_cannot_work_are_named(lab: Lab, lines: str, said: str) -> None:
    Path(lab.settings_file).write_text(lines + "\n")
    with pytest.raises(Usage, match=said):
        find_lab(lab.root)
