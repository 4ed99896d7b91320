"""CSV and TSV: the first record names the columns; quotes may hold separators and line ends (RFC 4180).

A record's number counts the records after the header, so a record over several lines is one.

A quote that is never closed takes in the lines that follow, up to the next quote, where the grammar breaks, or to the
end. Then the line it stands in is quarantined alone and reading goes on with the line after it.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import Any

from corpuskit.engine.plan import Input
from corpuskit.sources.fields import find, from_labels, rest
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.streams import CutStream, read_chunks, split_lines

# Characters of one field, and bytes of one record. A quote that is never closed takes in all that follows, so these
# bound the memory as well: the csv module holds 4 bytes a character.
MAX_FIELD = 16 << 20
MAX_RECORD = 64 << 20
# Lines may be read again after broken records up to so many times all that was read: every record of `a","` lines goes
# on to the end of the file, and reading that again from each line would never end.
MAX_AGAIN = 8


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
        lines.begin_record()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except CutStream as error:
            quarantine.add(source.name, number + 1, str(error))
            return
        except csv.Error as error:
            found = _lenient(reader.dialect, lines) if header is not None else None
            if found is None:
                number += 1
                excerpt = lines.shown.encode("utf-8", "replace")
                quarantine.add(source.name, number, f"not CSV: {_said(error, lines)}", excerpt)
                if header is None:
                    return  # without the names of the columns nothing can be read
                continue
            cells = found
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


def _lenient(dialect: Any, lines: _Lines) -> list[str] | None:
    """The cells of a record of one line whose quotes are closed but not where the grammar has them."""
    if len(lines.record) != 1 or lines.over:
        return None
    try:
        return next(csv.reader(lines.record, dialect, strict=False))
    except csv.Error:
        return None


def _said(error: csv.Error, lines: _Lines) -> str:
    """What is wrong with the record at hand, whose lines after the first are read again."""
    size = len(lines.record)
    if size < 2 and not lines.over:
        return str(error)
    lost = "" if lines.again() else f"; the {size - 1:,} lines after it are lost as well"
    return f"a quote is not closed ({error}){lost}"


class _Lines:
    """The lines of a file for the csv module, which wants strings with their ends. Broken bytes become surrogates.

    The lines of the record at hand are kept, so that they can be read again where it turns out to be none.
    """

    def __init__(self, path: str) -> None:
        self._lines = split_lines(read_chunks(path))
        self._waiting: deque[str] = deque()
        self._first = True
        self._read = self._again = self._size = 0
        self.record: list[str] = []
        self.over = False  # the file ended inside the record at hand
        self.shown = ""  # the first line of the record at hand
        self.broken = False  # some line was no UTF-8

    def begin_record(self) -> None:
        """What comes now belongs to another record."""
        self.record, self.over, self.shown, self._size = [], False, "", 0

    def again(self) -> bool:
        """Go back to the second line of the record at hand; False where that has been done too much."""
        self._again += self._size
        if self._again > MAX_AGAIN * self._read:
            return False
        self._waiting.extendleft(reversed(self.record[1:]))
        return True

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._size > MAX_RECORD:
            raise csv.Error(f"the record is longer than {MAX_RECORD:,} characters")
        text = self._waiting.popleft() if self._waiting else self._next()
        self.record.append(text)
        self._size += len(text)
        self.shown = self.shown or text[:800].removesuffix("\n")
        return text

    def _next(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            self.over = True
            raise
        if line is None:
            raise csv.Error("the line is longer than 64 MiB")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text, self.broken = line.decode("utf-8", "surrogateescape"), True
        if self._first:
            text, self._first = text.removeprefix("\ufeff"), False
        self._read += len(text) + 1
        return text + "\n"


def _reader(path: str, lines: _Lines) -> Any:
    """A reader that refuses broken quotes (strict); its errors leave it ready for the next line."""
    csv.field_size_limit(MAX_FIELD)
    suffixes = path.lower().rsplit("/", 1)[-1].split(".")[1:]
    return csv.reader(lines, csv.excel_tab if "tsv" in suffixes else csv.excel, strict=True)
