"""Which field of an upstream record is the text, which the URL, which the time, and what else is kept.

A path is a field name or, for nested records, names joined by dots: `warc_headers.warc-target-uri`. A field whose own
name has dots is found first. What is kept beside the text goes to `meta.fields` of the document: everything that was
not taken, nested as it was, or, where `keep` names paths, only those, flat under their paths.
"""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any, NamedTuple

import orjson

from corpuskit.config import Fields


class FieldMap(NamedTuple):
    """The fields of a source, as a shard's labels carry them."""

    text: str = "text"
    url: str = "url"
    timestamp: str = "timestamp"
    keep: tuple[str, ...] | None = None

    @property
    def taken(self) -> tuple[str, str, str]:
        """The paths that become columns of the document."""
        return self.text, self.url, self.timestamp

    def labels(self) -> dict[str, str]:
        """For Shard.labels; from_labels reads them."""
        labels = {"text_field": self.text, "url_field": self.url, "timestamp_field": self.timestamp}
        return labels if self.keep is None else {**labels, "keep": ",".join(self.keep)}


def from_labels(labels: dict[str, str]) -> FieldMap:
    """The field map of a shard; what its labels do not say is named as it is in a document."""
    keep = labels.get("keep")
    return FieldMap(
        labels.get("text_field", "text"),
        labels.get("url_field", "url"),
        labels.get("timestamp_field", "timestamp"),
        None if keep is None else tuple(keep.split(",")) if keep else (),
    )


def from_config(fields: Fields) -> FieldMap:
    """The field map of a source of a pipeline."""
    return FieldMap(fields.text, fields.url, fields.timestamp, fields.keep)


def find(record: dict[str, Any], path: str) -> Any:
    """The value at a path, or None."""
    if path in record or "." not in path:
        return record.get(path)
    value: Any = record
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def has(record: dict[str, Any], path: str) -> bool:
    """Whether there is such a field, be it null."""
    if path in record:
        return True
    parent, _, name = path.rpartition(".")
    holder = find(record, parent) if parent else None
    return isinstance(holder, dict) and name in holder


def rest(record: dict[str, Any], fields: FieldMap) -> dict[str, Any]:
    """What `meta.fields` keeps of a record. The record may be changed."""
    if fields.keep is not None:
        found = {path: find(record, path) for path in fields.keep}
        return {path: value for path, value in found.items() if value is not None}
    for path in fields.taken:
        if path in record:
            del record[path]
        elif "." in path:
            *parents, name = path.split(".")
            holder = find(record, ".".join(parents))
            if isinstance(holder, dict):
                holder.pop(name, None)
    return record


def as_string(value: Any) -> str | None:
    """A URL or a time as text: ISO 8601 where the format has times of its own, None for what is not a plain value."""
    if isinstance(value, str):
        return value
    if isinstance(value, date | time | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def to_json(fields: dict[str, Any] | None) -> str | None:
    """Fields as JSON, None where there are none.

    Raises:
        ValueError: nested too deep to be written (orjson: 254 levels).
    """
    if not fields:
        return None
    try:
        return orjson.dumps(fields, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError as error:
        raise ValueError(f"the fields beside the text cannot be kept: {error}") from error


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
