"""A real HTTP server that misbehaves on purpose, and counts what it is asked for and what it sends.

`answers` maps a path to answers, given one after the other; the last one stays. A request with an absolute URL, as a
proxy gets it, is looked up as `<host><path>` with a leading slash, so the server is a proxy as well as a mirror.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Handler = BaseHTTPRequestHandler
Answer = Callable[[Handler], None]


@dataclass(frozen=True)
class Request:
    """One request as it came: method, path, headers (names in lower case) and the monotonic time."""

    method: str
    path: str
    headers: dict[str, str]
    at: float


class FaultServer:
    """Serves `answers` on a free port of this machine until it is stopped."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.heads: dict[str, Answer] = {}  # answers to HEAD; without one HEAD is not understood (501)
        self.log: list[Request] = []
        self.body_bytes = 0  # sent in answer to GET
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        outer = self

        class Connection(Handler):
            protocol_version = "HTTP/1.1"

            def _serve(self, find: Callable[[str], Answer]) -> None:
                parts = urlsplit(self.path)
                path = self.path if self.path.startswith("/") else f"/{parts.netloc}{parts.path}"
                headers = {name.lower(): value for name, value in self.headers.items()}
                with outer.lock:
                    outer.log.append(Request(self.command, path, headers, time.monotonic()))
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                    answer = find(path)
                try:
                    answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with outer.lock:
                        outer.at_once -= 1

            def do_GET(self) -> None:
                def find(path: str) -> Answer:
                    waiting = outer.answers.get(path, [status(404)])
                    return waiting.pop(0) if len(waiting) > 1 else waiting[0]

                self._serve(find)

            def do_HEAD(self) -> None:
                self._serve(lambda path: outer.heads.get(path, status(501)))

            def count(self, size: int) -> None:
                with outer.lock:
                    outer.body_bytes += size

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def requests(self) -> list[str]:
        """The paths of all GETs."""
        return [r.path for r in self.log if r.method == "GET"]

    def ranges(self) -> list[str | None]:
        """The Range header of every GET."""
        return [r.headers.get("range") for r in self.log if r.method == "GET"]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def send(handler: Handler, code: int, content: bytes, headers: dict[str, str], cut: int | None = None) -> None:
    """An answer with exactly these headers; cut off hard after `cut` bytes of the content."""
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    if handler.command == "HEAD":
        handler.end_headers()
        return
    if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
        handler.send_header("Connection", "close")
        handler.close_connection = True
    handler.end_headers()
    part = content if cut is None else content[:cut]
    handler.count(len(part))  # type: ignore[attr-defined]
    handler.wfile.write(part)
    if cut is not None or headers.get("Content-Length") != str(len(content)):
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)


def body(content: bytes, *, length: int | None = -1, **headers: str) -> Answer:
    """200 with this content, whatever range is asked for; `length` is what Content-Length says, None leaves it out."""

    def answer(handler: Handler) -> None:
        said = {} if length is None else {"Content-Length": str(len(content) if length < 0 else length)}
        send(handler, 200, content, said | headers)

    return answer


def status(code: int, content: bytes = b"", **headers: str) -> Answer:
    return lambda handler: send(handler, code, content, {"Content-Length": str(len(content))} | headers)


def ranged(content: bytes, *, cut: Callable[[int], int | None] = lambda left: None, **headers: str) -> Answer:
    """A well-behaved file with ETag and ranges (RFC 9110), but for `cut`: how many of the bytes left are sent."""

    def answer(handler: Handler) -> None:
        marks = {"ETag": '"1"', "Accept-Ranges": "bytes"} | {k.replace("_", "-"): v for k, v in headers.items()}
        asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
        if asked and condition in (None, marks["ETag"], marks.get("Last-Modified")):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                send(handler, 416, b"", {"Content-Length": "0", "Content-Range": f"bytes */{len(content)}"} | marks)
                return
            said = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            left, code = content[start:], 206
        else:
            said, left, code = {}, content, 200
        send(handler, code, left, {"Content-Length": str(len(left))} | said | marks, cut(len(left)))

    return answer


def cutting(content: bytes, seed: int, times: int) -> list[Answer]:
    """A file whose connection is cut at a random byte so many times, and then is not."""
    chance = random.Random(seed)
    return [*(ranged(content, cut=lambda left: chance.randrange(left)) for _ in range(times)), ranged(content)]


def chunked(content: bytes, *, whole: bool = True) -> Answer:
    """Chunked, without a length; not `whole`: cut off before the last chunk."""

    def answer(handler: Handler) -> None:
        frames = b"".join(
            b"%x\r\n%s\r\n" % (len(p), p) for p in (content[i : i + 100] for i in range(0, len(content), 100))
        )
        end = b"0\r\n\r\n" if whole else b""
        send(
            handler, 200, frames + end, {"Transfer-Encoding": "chunked", "ETag": '"c"'}, None if whole else len(frames)
        )

    return answer


def stalling(content: bytes, after: int, seconds: float) -> Answer:
    """Sends so many bytes and then nothing for a while."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("ETag", '"1"')
        handler.end_headers()
        handler.wfile.write(content[:after])
        handler.wfile.flush()
        time.sleep(seconds)
        handler.close_connection = True

    return answer


def trickling_headers(seconds: float) -> Answer:
    """An answer whose headers never end: a byte, a pause, and again, until the other side has enough."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(1000):
            handler.wfile.write(b"x")
            time.sleep(seconds)

    return answer


def slowly(content: bytes, step: int, seconds: float) -> Answer:
    """A ranged file in small steps with a pause after each."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("ETag", '"1"')
        handler.end_headers()
        for start in range(0, len(content), step):
            handler.wfile.write(content[start : start + step])
            time.sleep(seconds)

    return answer
