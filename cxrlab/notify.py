"""How are people told that a run has ended: a webhook, a mail?

A message says which run, how it ended and why, and its main number; never a report's text or an
image. Addresses and passwords come from the environment, and stand in no message and no log.
"""

from __future__ import annotations

import email.header
import email.message
import json
import os
import smtplib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cxrlab import text
from cxrlab.errors import CxrlabError
from cxrlab.settings import Place

LIMIT_S = 20.0
"""How long one place may take to answer."""


class Word(NamedTuple):
    """What people are told."""

    title: str
    """One line."""
    body: str
    state: str
    facts: Mapping[str, Any]
    """The run as JSON has it, for programs."""


class NotTold(CxrlabError):
    """A place could not be reached, or refused."""


def word_of(facts: Mapping[str, Any], *, lab: str, what: str, number: str = "") -> Word:
    """Return what is said of a run that has ended.

    Args:
        facts: the run as JSON has it.
        lab: what the lab is called.
        what: the run in words.
        number: its main result, where it has one.
    """
    state = str(facts["state"])
    lines = [f"{facts['id']} in {lab}", *filter(None, (number, str(facts["reason"])))]
    if state in ("stopped", "lost"):
        lines.append(f"cxrlab resume {facts['id']}")
    if state == "failed":
        lines.append(f"cxrlab logs {facts['id']}")
    return Word(f"{text.state(state)}: {what}", "\n".join(lines), state, facts)


def tell(place: Place, word: Word, environment: Mapping[str, str] = os.environ) -> None:
    """Tell one place, waiting for its answer.

    Raises:
        NotTold: it could not be told; the message names the place, and no secret.
    """
    try:
        if place.form == "email":
            _mail(place, word, environment)
        else:
            _post(place, word, environment)
    except NotTold:
        raise
    except urllib.error.HTTPError as error:
        raise NotTold(f"`{place.name}` answered {error.code} {error.reason}") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        # the text of an error may hold the address, which is a secret
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or ""
        kind = type(error).__name__
        raise NotTold(f"`{place.name}` cannot be reached: {kind} {reason}".rstrip()) from None


def _post(place: Place, word: Word, environment: Mapping[str, str]) -> None:
    url = _secret(place, place.url_env, environment)
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise NotTold(f"`{place.name}`: {place.url_env} holds no http address")
    headers, body = _FORMS[place.form](word)
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        answer.read(65536)


def _mail(place: Place, word: Word, environment: Mapping[str, str]) -> None:
    message = email.message.EmailMessage()
    message["Subject"], message["From"], message["To"] = word.title, place.sender, place.to
    message.set_content(word.body + "\n")
    host, _, port = place.server.partition(":")
    with smtplib.SMTP(host, int(port or 25), timeout=LIMIT_S) as server:
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls()
            server.ehlo()
        if place.user:
            server.login(place.user, _secret(place, place.password_env, environment))
        server.send_message(message)


def _secret(place: Place, name: str, environment: Mapping[str, str]) -> str:
    if value := environment.get(name, "").strip():
        return value
    raise NotTold(
        f"`{place.name}`: the environment variable `{name}` is not set",
        "set it, then `cxrlab agent stop` and `start`: the agent keeps the environment it has",
    )


def _json(content: object) -> tuple[dict[str, str], bytes]:
    body = json.dumps(content, ensure_ascii=False, default=str).encode()
    return {"Content-Type": "application/json; charset=utf-8"}, body


def _ntfy(word: Word) -> tuple[dict[str, str], bytes]:
    title = email.header.Header(word.title, "utf-8", maxlinelen=998).encode()  # not only ASCII
    urgent = {"Priority": "high"} if word.state in ("failed", "lost") else {}
    return {"Title": title, **urgent}, word.body.encode()


def _plain(word: Word) -> str:
    return f"{word.title}\n{word.body}"


_FORMS: dict[str, Callable[[Word], tuple[dict[str, str], bytes]]] = {
    "ntfy": _ntfy,
    "slack": lambda word: _json({"text": _plain(word)}),
    "feishu": lambda word: _json({"msg_type": "text", "content": {"text": _plain(word)}}),
    "dingtalk": lambda word: _json({"msgtype": "text", "text": {"content": _plain(word)}}),
    "json": lambda word: _json({"title": word.title, "body": word.body, "run": word.facts}),
}
