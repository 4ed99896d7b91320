"""Bring one upstream file to this disk, whatever the connection does: resume, retry, wait as the server asks.

The bytes that came so far lie in `<name>.part`; `<name>.part.json` beside it says of which file they are (URL, size,
ETag, Last-Modified). The next attempt, in this run or after a SIGKILL, asks for the rest alone. It goes on only where
the server confirms that the file is the same one: a changed file starts again at byte zero and is never mixed.
How a server is spoken to is in http.py (HTTP) and remote.py (fsspec).
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

import orjson
import tenacity

from corpuskit.config import Failure
from corpuskit.engine.store import write_json
from corpuskit.sources.verify import Digest

T = TypeVar("T")

SECRETS = ("HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True)
class Policy:
    """How patiently files are fetched. All times in seconds.

    Attributes:
        connect: until a connection must stand.
        silence: until a server that sends nothing is given up for this attempt.
        least_rate: bytes a second. A server that sends less is given up for this attempt as a silent one is: bytes that
            trickle in never run into `silence`. The slowest hosts worth having give 100,000 and more; at 1,000 a shard
            of mC4 (300 MB) would take three days.
        rate_window: over how long the rate is taken, so that a pause on a busy host is no trickle.
        attempts: in a row, without `progress` new bytes, before a file counts as failed.
        progress: new bytes that make the counting of attempts begin anew: a long file may be cut often.
        damaged: how often a whole file may come damaged before it counts as failed.
        first_wait, longest_wait: pauses between attempts double from the first to the longest, less a random part.
        longest_pause: the longest pause a server may ask for with Retry-After.
        per_host: files that are fetched from one host at the same time.
        patience: files in a row that may fail on one host before its other files are not tried any more.
        tokens: origin (scheme://host) to the environment variable that holds the token for it, and for it alone.
    """

    connect: float = 10
    silence: float = 60
    least_rate: float = 1_000
    rate_window: float = 60
    attempts: int = 8
    progress: int = 1 << 20
    damaged: int = 2
    first_wait: float = 1
    longest_wait: float = 60
    longest_pause: float = 900
    per_host: int = 4
    patience: int = 3
    tokens: Mapping[str, str] = field(default_factory=lambda: {"https://huggingface.co": "HF_TOKEN"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says about a file; None where it says nothing. `size` in bytes."""

    size: int | None = None
    etag: str | None = None  # tells versions of the bytes apart on the server that sends them
    modified: str | None = None
    revision: str | None = None
    linked: Digest | None = None  # a checksum the server is known to give, such as X-Linked-Etag

    def same_file(self, other: Facts) -> bool:
        """Whether two answers are about the same bytes: all that both say agrees, and both name a version."""
        pairs = [(self.size, other.size), (self.etag, other.etag), (self.modified, other.modified)]
        agree = all(a == b for a, b in pairs if a is not None and b is not None)
        return agree and any(a is not None and a == b for a, b in pairs[1:])


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a file from `start` on, as they come."""

    start: int
    facts: Facts
    chunks: Iterator[bytes]


class Server(Protocol):
    """A way to ask for files."""

    def ask(self, address: str) -> Facts:
        """What is known of a file before it is fetched; empty Facts where the server does not say."""

    def open(self, address: str, start: int, held: Facts | None) -> AbstractContextManager[Body]:
        """The file from byte `start`, if it still is the one `held` describes, else from byte 0.

        Raises:
            Transient: it may work later.
            UserError: it will not.
        """


class Transient(Exception):
    """An attempt that failed and may succeed later; `pause` is the time in seconds the server asks for."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class Stopped(Exception):
    """Another thread failed for good, or the user pressed Ctrl-C; what came so far is kept."""


def public(text: str) -> str:
    """Text for a log, an error or a receipt: first line, without credentials in URLs, signatures and known secrets."""
    line = (text.strip() or "no reason given").splitlines()[0]
    for name in SECRETS:
        if len(value := os.environ.get(name, "")) >= 4:
            line = line.replace(value, "***")
    line = re.sub(r"(\w+://)[^/\s@]*@", r"\1", line)
    return re.sub(r"(?i)([?&][^=&\s]*(?:signature|token|credential|key|sig)[^=&\s]*=)[^&\s'\"]+", r"\1***", line)


def without_secrets(address: str) -> str:
    """An address without user, password and query."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", ""))


def part_paths(path: Path) -> tuple[Path, Path]:
    """Where the bytes of an unfinished file lie, and what they are of."""
    return path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")


def discard_part(path: Path) -> None:
    """Forget what came so far of a file."""
    for partial in part_paths(path):
        partial.unlink(missing_ok=True)


def held_part(url: str, path: Path) -> tuple[int, Facts | None]:
    """Bytes of a file that lie here from earlier attempts, and of what; (0, None) where they are of no use."""
    part, note = part_paths(path)
    try:
        said = orjson.loads(note.read_bytes())
        if said.pop("url") == url:
            linked = said.pop("linked")
            facts, size = Facts(**said, linked=Digest(**linked) if linked else None), part.stat().st_size
            if size and (facts.size is None or size <= facts.size) and (facts.etag or facts.modified):
                return size, facts
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        pass  # nothing there, or not whole
    return 0, None


class Pauses:
    """Which hosts asked for a pause: no thread asks them before it is over. Shared by all threads of a run."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self._until: dict[str, float] = {}

    def ask_for(self, host: str, seconds: float) -> None:
        """Leave this host alone for so long."""
        self._until[host] = max(self._until.get(host, 0.0), time.monotonic() + seconds)

    def wait(self, host: str) -> None:
        """Wait until the host may be asked.

        Raises:
            Stopped: the run ends meanwhile.
        """
        while (left := self._until.get(host, 0.0) - time.monotonic()) > 0:
            if self.stop.wait(left):
                raise Stopped


def retry(attempt: Callable[[], T], reached: Callable[[], int], *, address: str, policy: Policy, pauses: Pauses) -> T:
    """Call `attempt` until it succeeds: exponential backoff with jitter, bounded by attempts without progress.

    Args:
        attempt: raises Transient where another try may help.
        reached: how many bytes are held; getting further than ever before lets the counting begin anew.
        address: for errors.
        policy: waits and bounds.
        pauses: pauses that hosts asked for.

    Raises:
        Failure: it did not succeed within the bounds.
        Stopped: the run ends meanwhile.
    """
    fruitless, furthest, host = 0, reached(), urlsplit(address).netloc

    def count(state: tenacity.RetryCallState) -> None:
        nonlocal fruitless, furthest
        fruitless = 1 if (now := reached()) - furthest >= policy.progress else fruitless + 1
        furthest = max(furthest, now)
        problem = state.outcome.exception() if state.outcome else None
        if isinstance(problem, Transient) and problem.pause is not None:
            if problem.pause > policy.longest_pause:
                raise Transient(f"{problem}; it asks for a pause of {problem.pause:,.0f} seconds")
            pauses.ask_for(host, problem.pause)

    def backoff(_: tenacity.RetryCallState) -> float:
        longest = min(policy.longest_wait, policy.first_wait * 2.0 ** (fruitless - 1))
        return longest * random.uniform(0.5, 1)  # jitter: threads that failed together do not come back together

    def sleep(seconds: float) -> None:
        if pauses.stop.wait(seconds):
            raise Stopped

    def guarded() -> T:
        pauses.wait(host)
        return attempt()

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Transient),
        after=count,
        stop=lambda _: fruitless >= policy.attempts,
        wait=backoff,
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(guarded)
    except Transient as problem:
        shown = without_secrets(address)
        raise Failure(f"{shown}: could not be fetched ({public(str(problem))}); run it again to go on") from problem


def receive(
    url: str,
    address: str,
    path: Path,
    server: Server,
    *,
    announced: Facts,
    stop: threading.Event,
    arrived: Callable[[int], None],
) -> Facts:
    """One attempt to complete `<path>.part`.

    Args:
        url: what the bytes are, whoever serves them.
        address: where they are asked for.
        path: the file they will be.
        server: how to ask.
        announced: what the server said before; its size must be what comes.
        stop: set when the run ends.
        arrived: told of bytes as they come, and with a negative number of bytes that are of no use any more.

    Raises:
        Transient: the connection broke, or what came does not fit; what is of use is kept.
    """
    part, note = part_paths(path)
    have, held = held_part(url, path)
    if held and have == held.size and (held.linked or held.same_file(announced)):
        return held  # killed between the last byte and the rename
    with server.open(address, have, held) as body:
        if body.start and not (held and body.start == have and held.same_file(body.facts)):
            arrived(-have)
            discard_part(path)
            raise Transient("the file changed on the server while it was fetched")
        facts = body.facts
        if body.start == 0:
            arrived(-have)
            discard_part(path)
            write_json(note, {"url": url, **asdict(facts)})
        elif held:  # a ranged answer need not repeat everything
            size_said = held.size if facts.size is None else facts.size
            facts = replace(facts, size=size_said, linked=facts.linked or held.linked)
        with open(part, "r+b" if body.start else "wb", buffering=0) as file:  # what came is in the file, even if killed
            file.seek(body.start)
            for chunk in body.chunks:
                if stop.is_set():
                    raise Stopped
                _write(file, chunk, part)
                arrived(len(chunk))
            os.fsync(file.fileno())
    size = part.stat().st_size
    if facts.size is not None and size != facts.size:
        if size > facts.size:
            arrived(-size)
            discard_part(path)
        raise Transient(f"{size:,} bytes came of {facts.size:,}")
    if None not in (announced.size, facts.size) and announced.size != facts.size and announced.etag == facts.etag:
        arrived(-size)
        discard_part(path)
        raise Transient(f"the server sends {size:,} bytes of a file it says has {announced.size:,}")
    return facts


def _write(file: IO[bytes], chunk: bytes, path: Path) -> None:
    """Write all of a chunk; an unbuffered write may take less, and its error names no file."""
    view = memoryview(chunk)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        error.filename = str(path)
        raise


class Pace(threading.local):
    """How fast the bytes come that a thread waits for."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.restart()

    def restart(self) -> None:
        """Begin to count."""
        self._begin, self._size = time.monotonic(), 0

    def count(self, size: int) -> None:
        """So many bytes came.

        Raises:
            Transient: fewer come than the policy's least rate over its window.
        """
        self._size += size
        if (spent := time.monotonic() - self._begin) >= self._policy.rate_window:
            if self._size < self._policy.least_rate * spent:
                raise Transient(f"too slow: {self._size:,} bytes in {spent:,.1f} seconds")
            self.restart()


@contextlib.contextmanager
def tidy(url: str, path: Path) -> Iterator[None]:
    """Leave behind only what a later run can go on from."""
    try:
        yield
    finally:
        if held_part(url, path)[1] is None:
            discard_part(path)
