"""Which version of an upstream file was fetched, and whether the host has another one now."""

from __future__ import annotations

import re
from typing import Any

from corpuskit.sources.transfer import Facts

PINNED = re.compile(r"/resolve/([0-9a-f]{40})/|/(\d{8})/")  # a commit on the Hub, the date of a dump


def revision_of(url: str, facts: Facts) -> str | None:
    """The commit, object version or dump date a file is of, where the server or the URL tells it."""
    match = PINNED.search(url)
    return facts.revision or (match and (match[1] or match[2])) or None


def difference(record: dict[str, Any], now: Facts, host: str) -> str | None:
    """In words what tells the file of a record from what the host has now; None where nothing does.

    Only what both have is compared. ETag and Last-Modified mean something on the host they came from alone: a mirror
    sends others for the same bytes.
    """
    if now.linked and now.linked.algorithm == "sha256":
        if now.linked.hexdigest != record["sha256"]:
            return f"sha256 {record['sha256']}, now {now.linked.hexdigest}"
        return None
    if now.size is not None and now.size != record["size"]:
        return f"{record['size']:,} bytes, now {now.size:,}"
    if record.get("host") != host:
        return None
    etag, modified = now.linked.hexdigest if now.linked else now.etag, now.modified
    if etag and record.get("etag"):
        return f"ETag {record['etag']}, now {etag}" if etag != record["etag"] else None
    if modified and record.get("last_modified") and modified != record["last_modified"]:
        return f"Last-Modified {record['last_modified']}, now {modified}"
    return None
