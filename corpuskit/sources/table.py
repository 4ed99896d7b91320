"""CSV and TSV: the first record names the columns; quotes may hold separators and line ends (RFC 4180).

A record's number counts the records after the header, so a record over several lines is one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from corpuskit.engine.plan import Input
from corpuskit.sources.fields import find, from_labels, rest
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.streams import CutStream, read_chunks, split_lines

# Characters of one field. A quote that is never closed takes in all that follows, so this bounds the memory as well:
# the csv module holds 4 bytes a character.
MAX_FIELD = 16 << 20


def read_header(path: str) -> list[str]:
    """The names of the columns.

    Raises:
        CutStream: the file is damaged before its first record.
        ValueError: there is no header.
    """
    try:
        return next(_reader(path, _Lines(path)))
    except (StopIteration, csv.Error) as error:
        raise ValueError("no header line") from error


def read_csv(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    """The records of a CSV file, or of a TSV file by its name."""
    fields = from_labels(labels)
    lines = _Lines(source.path)
    reader = _reader(source.path, lines)
    header: list[str] | None = None
    number = -1
    while True:
        lines.shown = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except CutStream as error:
            quarantine.add(source.name, number + 1, str(error))
            return
        except csv.Error as error:
            number += 1
            quarantine.add(source.name, number, f"not CSV: {error}", lines.shown.encode("utf-8", "replace"))
            if header is None:
                return  # without the names of the columns nothing can be read
            continue
        if header is None:
            header = cells
            continue
        if not cells:
            continue  # an empty line is no record
        number += 1
        excerpt = lines.shown.encode("utf-8", "surrogateescape")
        if len(cells) != len(header):
            quarantine.add(source.name, number, f"{len(cells)} cells under {len(header)} columns", excerpt)
            continue
        if lines.broken and not _is_utf8(cells):
            quarantine.add(source.name, number, "not UTF-8", excerpt)
            continue
        record = dict(zip(header, cells, strict=True))
        text = find(record, fields.text)
        if text is None:
            quarantine.add(source.name, number, f"no text in the column '{fields.text}'", excerpt)
            continue
        url, timestamp = find(record, fields.url), find(record, fields.timestamp)
        yield Record(number, text, url or None, timestamp or None, rest(record, fields))


def _is_utf8(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


class _Lines:
    """The lines of a file for the csv module, which wants strings with their ends. Broken bytes become surrogates."""

    def __init__(self, path: str) -> None:
        self._lines = split_lines(read_chunks(path))
        self._first = True
        self.shown = ""  # the first line of the record at hand
        self.broken = False  # some line was no UTF-8

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if line is None:
            raise csv.Error("the line is longer than 64 MiB")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text, self.broken = line.decode("utf-8", "surrogateescape"), True
        if self._first:
            text, self._first = text.removeprefix("\ufeff"), False
        self.shown = self.shown or text[:800]
        return text + "\n"


def _reader(path: str, lines: _Lines) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_FIELD)
    suffixes = path.lower().rsplit("/", 1)[-1].split(".")[1:]
    return csv.reader(lines, csv.excel_tab if "tsv" in suffixes else csv.excel)
