"""Ask HTTP servers for files or for the rest of files, and understand how they say "not now".

Redirects are followed; proxies come from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. A token goes to the origin it
belongs to and nowhere else: not to a mirror, and not along a redirect to another host.
"""

from __future__ import annotations

import contextlib
import email.utils
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from corpuskit import __version__
from corpuskit.config import UserError
from corpuskit.sources.transfer import Body, Facts, Pace, Pauses, Policy, Transient, public, without_secrets
from corpuskit.sources.verify import Digest, etag_digest

MISSING = (404, 410)
DENIED = (401, 403, 407)
BUSY = (408, 425, 429)  # and every 5xx
SLOW_DOWN = re.compile(rb"slow\s*down|reduce your request rate|too many requests", re.IGNORECASE)
RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class Http:
    """Files over HTTP(S); one for all threads of a run."""

    def __init__(self, policy: Policy, pauses: Pauses) -> None:
        self._policy, self._pauses, self._pace = policy, pauses, Pace(policy)
        for name in ("httpx", "httpcore"):  # they log redirect targets, whose signatures are as good as a token
            logging.getLogger(name).setLevel(logging.WARNING)
        self._sockets: list[socket.socket] = []  # of all connections, closed ones too; threads append to it
        self._extensions = {"trace": self._watch}
        self._client = httpx.Client(
            timeout=httpx.Timeout(policy.silence, connect=policy.connect, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            # identity: the file's own bytes, not compressed once more on the way
            headers={"Accept-Encoding": "identity", "User-Agent": f"corpuskit/{__version__}"},
            follow_redirects=True,
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def interrupt(self) -> None:
        """End the waiting of all threads that wait for a server; closing a connection would not wake them."""
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):  # closed meanwhile
                socket.socket.shutdown(
                    connection, socket.SHUT_RDWR
                )  # of an SSLSocket as well: it is not to say goodbye

    def _watch(self, event: str, info: dict[str, Any]) -> None:
        """Remember every connection and see how fast it is; httpx tells of them through its `trace` extension."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            stream = info["return_value"]
            stream.read = self._paced(stream.read)
            self._sockets.append(stream.get_extra_info("socket"))
            if self._pauses.stop.is_set():
                self.interrupt()
        elif event.endswith(("receive_response_headers.started", "receive_response_headers.complete")):
            self._pace.restart()  # headers may take as long as a window, and the body has one of its own

    def _paced(self, read: Callable[..., bytes]) -> Callable[..., bytes]:
        """A connection's `read` that gives a trickle up. httpx bounds the time of one read, and not of all headers."""

        def paced(*args: Any, **kwargs: Any) -> bytes:
            came = read(*args, **kwargs)
            self._pace.count(len(came))
            return came

        return paced

    def ask(self, address: str) -> Facts:
        """What HEAD tells; empty Facts where the server knows no HEAD or does not answer it now."""
        host = urlsplit(address).netloc
        self._pauses.wait(host)
        try:
            response = self._client.head(address, headers=self._authorization(address), extensions=self._extensions)
        except (httpx.HTTPError, httpx.InvalidURL, Transient):
            return Facts()
        pause = _pause(response.headers)
        if pause is not None and response.status_code >= 400:
            self._pauses.ask_for(host, min(pause, self._policy.longest_pause))
        return _facts(response) if response.status_code == 200 else Facts()

    @contextlib.contextmanager
    def open(self, address: str, start: int, held: Facts | None) -> Iterator[Body]:
        """The file from byte `start` if the server can and it is still the file `held` describes, else from byte 0."""
        headers, confirmed = self._authorization(address), Facts()
        if start and held:
            headers["Range"] = f"bytes={start}-"
            strong = held.etag if held.etag and not held.etag.startswith("W/") else None
            if condition := strong or held.modified:
                headers["If-Range"] = condition  # a file that changed comes whole,
                confirmed = held  # and a partial answer need not repeat what it confirms (RFC 9110, 15.3.7)
        try:
            with self._client.stream("GET", address, headers=headers, extensions=self._extensions) as response:
                yield self._body(address, response, start, confirmed)
        except httpx.HTTPError as error:  # while connecting, or while the chunks are read
            raise Transient(public(str(error) or type(error).__name__)) from error
        except httpx.InvalidURL as error:
            raise UserError(f"{without_secrets(address)}: not a usable URL") from error

    def _authorization(self, address: str) -> dict[str, str]:
        parts = urlsplit(address)
        variable = self._policy.tokens.get(f"{parts.scheme}://{parts.netloc}")
        token = os.environ.get(variable, "").strip() if variable else ""
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _body(self, address: str, response: httpx.Response, start: int, confirmed: Facts) -> Body:
        code, facts = response.status_code, _facts(response)
        if code == 206 and start:
            match = RANGE.fullmatch(response.headers.get("content-range", ""))
            if match and match[1] and int(match[1]) == start:
                etag, modified = facts.etag or confirmed.etag, facts.modified or confirmed.modified
                facts = replace(facts, etag=etag, modified=modified)
                return Body(start, facts, response.iter_raw())
            raise Transient("the server answers with another range than the one that was asked for")
        if code == 416 and start:
            match = RANGE.fullmatch(response.headers.get("content-range", ""))
            if match and match[3] == str(start):  # nothing is missing
                return Body(start, facts, iter(()))
            return Body(start, Facts(), iter(()))  # the file is shorter now than what is held of it: not the same
        if code == 200:
            encoding = response.headers.get("content-encoding", "identity").lower()
            if encoding != "identity" and not (encoding.endswith("gzip") and urlsplit(address).path.endswith(".gz")):
                raise UserError(f"{without_secrets(address)}: the server sends it {encoding}-compressed, unasked")
            return Body(0, facts, response.iter_raw())
        self._refuse(address, response)
        raise Transient(f"the server answers {code}", _pause(response.headers))

    def _refuse(self, address: str, response: httpx.Response) -> None:
        """Raise UserError for an answer that waiting does not change."""
        code, shown = response.status_code, without_secrets(address)
        if code < 400 or code in BUSY or code >= 500 or code == 416:  # a range nobody asked for is no refusal
            return
        if code == 403 and (
            "retry-after" in response.headers or SLOW_DOWN.search(next(response.iter_raw(), b"") + _reason(response))
        ):
            return  # Common Crawl says "Slow Down" with a 403
        hint = "cut the sources with --source and --shards"
        parts = urlsplit(address)
        if code in DENIED and (variable := self._policy.tokens.get(f"{parts.scheme}://{parts.netloc}")):
            held = os.environ.get(variable, "").strip()
            hint = "accept the set's terms on its page, and " + (
                f"see whether the token in {variable} may read it" if held else f"put a token into {variable}"
            )
        raise UserError(f"{shown}: the server answers {code}; {hint}")


def _reason(response: httpx.Response) -> bytes:
    return response.reason_phrase.encode("ascii", "replace")


def _pause(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds; it may be a number or a date."""
    said = headers.get("retry-after", "").strip()
    if said.isdigit():
        return float(said)
    try:
        when = email.utils.parsedate_to_datetime(said)
        now = email.utils.parsedate_to_datetime(headers.get("date", email.utils.formatdate(usegmt=True)))
        return max(0.0, (when - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _facts(response: httpx.Response) -> Facts:
    """What the headers of the answer say, and those of the first answer where it was a redirect."""
    headers = response.headers
    first = (response.history or [response])[0].headers
    length = headers.get("content-length", "")
    size = int(length) if length.isdigit() else None
    if match := RANGE.fullmatch(headers.get("content-range", "")):
        size = int(match[3]) if match[3].isdigit() else None
    etag, linked = headers.get("etag"), None
    if first.get("x-linked-etag"):  # huggingface.co: the sha256 of the LFS object
        found = etag_digest(first["x-linked-etag"])
        told = first.get("x-linked-size", "")
        if found:
            length_said = int(told) if told.isdigit() else None
            linked = Digest(found.algorithm, found.hexdigest, "X-Linked-Etag", size=length_said)
    elif headers.get("server") == "AmazonS3" and "kms" not in headers.get("x-amz-server-side-encryption", ""):
        found = etag_digest(etag)
        linked = Digest(found.algorithm, found.hexdigest, "ETag") if found else None
    return Facts(size, etag, headers.get("last-modified"), first.get("x-repo-commit"), linked)
