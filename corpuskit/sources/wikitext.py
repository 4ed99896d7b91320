"""Wikitext to plain text: one MediaWiki article in, paragraphs, headings and list lines out.

Every construct has one pass, and nearly every pass is one compiled expression with a constant replacement, so that the
work is done in C: an opening [[target| is cut and its ]] is cut, nobody ever pairs them. Only templates need a stack,
because what is inside them decides what they become. The order of the passes is the grammar:

    comments, <nowiki>, tags with contents (<ref>, <math> ...)  nothing inside them means anything
    sections without prose (脚注, References ...)               before the work that they would cost
    links                                                       before templates, whose pipes they would be taken for
    templates, tables                                           inside out
    other tags, external links, quotes, lists                   what may stand inside all of the above
    brackets left empty, headings left empty, entities, blank lines

A removed template leaves MARK, so that only brackets that lost something are repaired and f() stays f().
Time is linear on any input: no expression goes over the same text again and again (possessive quantifiers), nothing
recurses, and what is not closed ends with its line (a template, a file link), its paragraph (a comment) or its section.
The word lists are data: rules/wikitext.yaml.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from corpuskit.sources.wikitext_words import COLON, MARK, UNCLOSED, Pattern, Words, word_lists

MAX_DEPTH = 40  # templates nested deeper than this are dropped unread (MediaWiki expands 40 levels as well)
MAX_TABLE_DEPTH = 8
MAX_TITLE = 60  # chars; a longer heading is no section's name
LONG_NAME = 100  # chars; what is longer is not cached

Result = TypeVar("Result")


def _cached(function: Callable[[str], Result]) -> Callable[[str], Result]:
    """For names, which come again and again. Long ones are not kept: a hostile dump may hold many."""
    remembered = lru_cache(maxsize=4096)(function)
    return lambda name: remembered(name) if len(name) < LONG_NAME else function(name)


def wikitext_to_text(source: str) -> str:
    """The plain text of one article: blocks parted by one blank line, list items as '- ' lines. Never raises."""
    words = word_lists()
    # expressions that begin with a literal \n are searched many times faster than ^
    text = f"\n{source}\n"
    for control in ("\r", MARK, UNCLOSED, COLON):
        if control in text:
            text = text.replace(control, "")
    if "<" in text:
        text = _drop_comments(text)
        if "<nowiki" in text:
            text = _NOWIKI.sub(lambda match: match[1].translate(_LITERAL), text)
        text = words.dropped_tags.sub(MARK, text)
    text = _drop_sections(text)
    text = _unlink(text, words)
    if "{{" in text or "}}" in text:
        text = _expand_templates(text)
    text = _drop_tables(_LINE_MARK.sub("\n", text))
    if "<" in text:
        text = words.line_tags.sub("\n", text)
        if "<li" in text:
            text = _LIST_TAG.sub("\n* ", text)
        text = words.inline_tags.sub("", text)
    if "[" in text:
        text = _EXTERNAL_LINK.sub(lambda match: match[1] or MARK, text)
    text = _unquote(text)
    if "_" in text:
        text = words.magic_words.sub("", text)
    text = _plain_lists(text)
    if "&" in text:
        text = text.replace("&nbsp;", " ")
    text = _repair(text, words)
    text = _prune_headings(text)
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = text.replace("\xa0", " ")
    if "  " in text:  # few: str finds them many times faster than an expression
        first, *rest = text.split("  ")
        text = " ".join([first, *filter(None, (piece.lstrip(" ") for piece in rest))])
    # a line cannot begin with these: its author wrapped the one before it
    text = _WRAPPED.sub("", text)
    lines = [line for line in map(str.strip, text.split("\n")) if line != "-"]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


def is_redirect(source: str) -> bool:
    """Whether the page only points at another one (#REDIRECT, #転送, #リダイレクト)."""
    return word_lists().redirect.match(source) is not None


def is_disambiguation(source: str) -> bool:
    """Whether the page only lists articles of similar names ({{曖昧さ回避}}, {{aimai}}, {{hndis}} ...)."""
    found = word_lists().disambiguation
    if not found.search(source):
        return False
    return "<!--" not in source or found.search(_drop_comments(source)) is not None


# --- comments, nowiki -----------------------------------------------------------------------------------------------

_NOWIKI = re.compile(r"<nowiki\s*>([^<]*+(?:<(?!/?nowiki)[^<]*+)*+)</nowiki\s*>", re.IGNORECASE)
# what <nowiki> protects survives as entities until everything else is done
_LITERAL = str.maketrans({char: f"&#{ord(char)};" for char in "[]{}<>|'=*#:;_!-"})


def _drop_comments(text: str) -> str:
    """Comments out, with their line where they fill it. One that is not closed takes its paragraph."""
    out: list[str] = []
    line = -1  # where in out the last line end is, if only blanks and comments followed; else -1
    position = 0
    last = text.rfind("-->")  # no end is looked for behind it: that would be quadratic
    while position < len(text):
        begin = text.find("<!--", position)
        piece = text[position : begin if begin >= 0 else None]
        if line >= 0 and (ended := piece.lstrip(" \t")).startswith("\n"):
            out[line:] = [out[line].rstrip(" \t")[:-1]]
            piece = ended
        if before := piece.rstrip(" \t"):
            line = len(out) if before.endswith("\n") else -1
        out.append(piece)
        if begin < 0:
            break
        end = text.find("-->", begin + 4) + 3 if begin + 4 <= last else text.find("\n\n", begin)
        position = end if end >= 0 else len(text)
    return "".join(out)


# --- sections -------------------------------------------------------------------------------------------------------

_HEADING = re.compile(r"\n(=[^\n]*=)[ \t]*+(?=\n)")


@_cached
def _heading(line: str) -> tuple[int, str]:
    """Level and title of '== title =='."""
    left = len(line) - len(line.lstrip("="))
    right = len(line) - len(line.rstrip("="))
    level = min(left, right, 6)
    return level, line[level : len(line) - level].strip()


def _drop_sections(text: str) -> str:
    """The sections named in dropped_sections out, their subsections too."""
    kept: list[str] = []
    position = 0
    dropping = 0  # level of the section being dropped
    for match in _HEADING.finditer(text):
        level, title = _heading(match[1])
        if dropping and level > dropping:
            continue
        if dropping:
            position = match.start()
            dropping = 0
        if len(title) <= MAX_TITLE and _is_dropped(title):
            kept.append(text[position : match.start()])
            dropping = level
    if dropping:
        kept.append("\n")
    elif kept:
        kept.append(text[position:])
    return "".join(kept) if kept else text


@_cached
def _is_dropped(title: str) -> bool:
    words = word_lists()
    title = title.strip(" \t'　:：").casefold()
    if title in words.sections:
        return True
    parts = [part.strip() for part in words.section_joint.split(title)]
    return len(parts) > 1 and all(part in words.sections for part in parts)


def _prune_headings(text: str) -> str:
    """Headings become lines of their own; those with nothing under them go."""
    found = list(_HEADING.finditer(text))
    if not found:
        return text
    blocks: list[str] = []
    end = len(text)
    below = 0  # level of the nearest kept heading further down
    for match in reversed(found):
        level, title = _heading(match[1])
        body = text[match.end() : end]
        end = match.start()
        if body and not body.isspace():
            blocks.append(body)
        elif below <= level:
            continue
        below = level
        blocks.append(f"\n\n{title}\n\n")
    blocks.append(text[:end])
    return "".join(reversed(blocks))


# --- links ----------------------------------------------------------------------------------------------------------

_LINK_COLON = re.compile(r"\[\[(?=[ \t]*+[^\[\]|{}\n:]{0,14}+:)")
_LINK_EMPTY_LABEL = re.compile(r"(\[\[[^\[\]|\n]*+)\|\]\]")
_LINK_ESCAPED_PIPE = re.compile(r"(\[\[[^\[\]|{}\n]*+)\{\{!\}\}")
_TARGET = r"[^\[\]|{}\n]*+\|"
_LINK_BEGIN = re.compile(rf"\[\[(?!\[{_TARGET})(?:{_TARGET})?+")  # of [[[a|b]]] the first bracket is not the link's
_LINK_END = re.compile(r"\]\]")
_EXTERNAL_LINK = re.compile(
    r"\[(?:(?:https?|ftps?|ircs?|gopher|telnet|news|nntp|svn|git)://|//|mailto:|news:)[^\s\[\]<>]*+"
    r"(?:[ \t\u3000]++([^\[\]\n]*+))?\]",
    re.IGNORECASE,
)


def _unlink(text: str, words: Words) -> str:
    """[[a]] -> a, [[a|b]] -> b; files, categories and links to other languages out."""
    if "[[" not in text:
        return text
    # few links have a colon near their beginning: the expressions with many names look at these alone
    text = _LINK_COLON.sub(f"{COLON}[[", text)
    if COLON in text:
        text, hidden = words.hidden_link.subn(MARK, text)
        if hidden:  # again: the caption of a file may hold links, and those hold files (a link icon) at times
            text = words.hidden_link.sub(MARK, text)
        if COLON in text:
            text = words.broken_file.sub(MARK, text)
            text = words.prefixed_link.sub("[[", text).replace(COLON, "")
    if "{{!}}" in text:
        text = _LINK_ESCAPED_PIPE.sub(r"\1|", text)
    if "|]]" in text:
        text = _LINK_EMPTY_LABEL.sub(r"\1]]", text)
    return _LINK_END.sub("", _LINK_BEGIN.sub("", text))


# --- templates ------------------------------------------------------------------------------------------------------

_PARAMETER = re.compile(r"(?<!\{)\{\{\{(?!\{)[^{}|]*+(?:\|([^{}]*+))?\}\}\}")
_SECTION_BEGIN = re.compile(r"\n(?===[^\n]*==[ \t]*+\n)")
_UNCLOSED_LINE = re.compile(rf"{UNCLOSED}[^\n]*+")


def _expand_templates(text: str) -> str:
    """Inline templates become their words, others MARK. One not closed before the next heading loses only its line."""
    if "{{{" in text:
        text = _PARAMETER.sub(lambda match: match[1] or "", text)
    out: list[str] = []
    for section in _SECTION_BEGIN.split(text):
        out.append("\n")
        stack: list[int] = []  # where in out the open templates begin
        for opened, rest in enumerate(section.split("{{")):
            if opened:
                stack.append(len(out))
                out.append(UNCLOSED)
            for closed, piece in enumerate(rest.split("}}")):
                if closed and stack:
                    begin = stack.pop()
                    out[begin:] = [_expand(out, begin + 1) if len(stack) < MAX_DEPTH else MARK]
                out.append(piece)
    text = "".join(out[1:])
    return _UNCLOSED_LINE.sub(MARK, text) if UNCLOSED in text else text


@_cached
def _named(name: str) -> tuple[list[Pattern] | None, bool]:
    """The patterns of a template's name as it is written, and whether a colon in it begins the first parameter."""
    words = word_lists()
    name = name.strip().lower().replace("_", " ")
    patterns = words.templates.get(name)
    if patterns is None:
        for beginning, candidate in words.beginnings.items():
            if name.startswith(beginning):
                patterns = candidate
    if patterns is not None:
        return patterns, False
    # {{formatnum:1234}}, {{subst:lang|..}}: a name, a colon, the first parameter
    head, colon, tail = name.partition(":")
    if not colon or len(head) > 20:
        return None, False
    return (words.templates.get(tail.strip()), False) if head == "subst" else (words.templates.get(head), True)


def _expand(pieces: list[str], begin: int) -> str:
    """What the template whose source is pieces[begin:] becomes."""
    first = pieces[begin]
    name, _, rest = first.partition("|")
    patterns, colon = _named(name)
    if patterns is None:
        return MARK
    if colon:
        rest = first.partition(":")[2]
    body = rest + "".join(pieces[begin + 1 :])
    given: dict[str, str] = {}
    unnamed: list[str] = []
    for parameter in body.split("|") if body else ():
        if "=" in parameter:
            key, _, value = parameter.partition("=")
            given[key.strip().lower()] = value.strip()
        else:
            unnamed.append(parameter.strip())
            given[str(len(unnamed))] = unnamed[-1]
    if unnamed:
        given["-1"] = unnamed[-1]
        given["*"] = "".join(unnamed)
    for pattern in patterns:
        word = _fill(pattern, given, unnamed)
        if word is not None:
            return word or MARK
    return MARK


def _fill(pattern: Pattern, given: dict[str, str], unnamed: list[str]) -> str | None:
    """The pattern with its parameters, or None where one of them is not given."""
    words: list[str] = []
    for part in pattern:
        if isinstance(part, str):
            words.append(part)
            continue
        if part == ("measure",):
            return _measure(unnamed)
        if part == ("as of",):
            return " ".join(["as of" if given.get("lc") else "As of", *unnamed[:1]])
        value = next((given[name] for name in part if given.get(name)), None)
        if value is None:
            return None
        words.append(value)
    return "".join(words)


def _measure(unnamed: list[str]) -> str:
    """The amount as given: {{convert|10|to|20|km|mi}} -> 10 to 20 km, {{convert|5|ft|6|in}} -> 5 ft 6 in."""
    shown = unnamed[:2]
    if len(unnamed) > 3:
        if unnamed[1] in ("-", "–", "to", "and", "by", "x", "or", "+/-"):
            joint = "–" if unnamed[1] == "-" else unnamed[1]
            amount = f"{unnamed[0]}–{unnamed[2]}" if joint == "–" else f"{unnamed[0]} {joint} {unnamed[2]}"
            return f"{amount} {unnamed[3]}"
        if unnamed[2].replace(".", "", 1).isdigit() and unnamed[3].isalpha():
            shown = unnamed[:4]
    return " ".join(shown)


# --- tables ---------------------------------------------------------------------------------------------------------

_TABLE_START = r"\n[ \t:*#]*+\{\|"
_TABLE_END = r"\n[ \t:]*+\|\}(?!\})"
# the innermost tables: no line of theirs opens another one or is a heading
_TABLE_ROWS = rf"(?:(?!{_TABLE_START}|{_TABLE_END}|\n==[^\n]*==[ \t]*+\n)\n[^\n]*+)*+"
_TABLE = re.compile(rf"{_TABLE_START}[^\n]*+{_TABLE_ROWS}{_TABLE_END}")
# what a removed template, file or reference hides from the expressions that look at the start of a line
_LINE_MARK = re.compile(rf"\n *+{MARK}[{MARK} ]*+(?=[*#:;=|]|\{{\|)")
_BROKEN_TABLE = re.compile(r"\n[ \t:*#]*+(?:\{\||!)[^\n]*+")
_TABLE_LINE = re.compile(r"\n[ \t]*+\|[^\n]*+")


def _drop_tables(text: str) -> str:
    """Tables out. Of one that is not closed only the lines that are table syntax go."""
    if "|" not in text:
        return text
    if "{|" in text:
        for _ in range(MAX_TABLE_DEPTH):
            text, count = _TABLE.subn("\n", text)
            if not count or "{|" not in text:
                break
        if "{|" in text:
            text = _BROKEN_TABLE.sub("", text)
    return _TABLE_LINE.sub("", text)


# --- the rest of a line ---------------------------------------------------------------------------------------------

_LIST_TAG = re.compile(r"(?:\n[ \t]{0,8})?<li\b[^<>]*+>[ \t]*+")
_POSSESSIVE_END = re.compile(r"'''s\b")
_POSSESSIVE = re.compile(r"(?<!')''(?!')([^'\n]*+)'''(?=s\b)")
_QUOTES = re.compile("'''?")  # what comes often goes faster by an expression than by str.replace
_RULE = re.compile(r"\n-{4,}+")
_TERM = re.compile(r"\n;([^\n:]*+)(?<=[ \t]):[ \t]+")
_ITEM = re.compile(r"\n[*#:;]*[*#](?![:;])[ \t]*+")
_INDENT = re.compile(r"\n[*#:;]++[ \t]*+")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_WRAPPED = re.compile(r"\n(?<!\n\n)(?=[。、])")
_BLANK_LINES = re.compile(r"\n\n\n++")  # literal beginnings are searched fast, \n{3,} is not


def _on_lines(text: str, sign: re.Pattern[str], mend: Callable[[str], str]) -> str:
    """The text with each line that holds a sign mended; the sign is found faster than what is to be mended."""
    pieces: list[str] = []
    position = 0
    while match := sign.search(text, position):
        begin = max(position, text.rfind("\n", position, match.start()))
        end = text.find("\n", match.end())
        end = end if end >= 0 else len(text)
        pieces += text[position:begin], mend(text[begin:end])
        position = end
    pieces.append(text[position:])
    return "".join(pieces)


def _unquote(text: str) -> str:
    """The marks of bold and italic out; ''Macbeth'''s keeps its apostrophe."""
    if "''" not in text:
        return text
    if "'''s" in text:
        text = _on_lines(text, _POSSESSIVE_END, lambda line: _POSSESSIVE.sub(r"\1'", line))
    return _QUOTES.sub("", text)


def _plain_lists(text: str) -> str:
    """* and # become '- ', ; and : nothing."""
    if "\n----" in text:
        text = _RULE.sub("\n", text)
    if "\n;" in text:
        text = _TERM.sub(r"\n\1\n", text)
    return _INDENT.sub("\n", _ITEM.sub("\n- ", text))


# --- brackets that lost what they held ------------------------------------------------------------------------------

_ROUND = re.compile(rf"([（(])[^（）()\n{MARK}]*+{MARK}[^（）()\n]*+[）)]")
_PART = re.compile(r"([、，,;；/／]|(?<=[^ ])[:：](?= *\Z))")
_ROUND_END = re.compile(rf"{MARK}[^（）()\n{MARK}]*+[）)]")  # what begins with MARK is found fast
_QUOTED = {"「": "」", "『": "』", "“": "”", "[": "]", '"': '"'}
_CLOSING = ("。", "、", "，", "）", "」", "』", ",", ";", ")")


def _repair(text: str, words: Words) -> str:
    """（、英: X） -> （英: X）, () -> nothing, 'a {{x}}, b' -> 'a, b'; only where something was removed."""
    if MARK not in text:
        return text
    text = _on_lines(text, _ROUND_END, lambda line: _mend_brackets(line, words))
    first, *rest = text.split(MARK)
    out = [first]
    for after in filter(None, rest):
        while out and after:  # of a piece nothing may be left: then the one before it stands beside
            before, after = _mend_seam(out.pop(), after)
            if before:
                out.append(before)
                break
        if after:
            out.append(after)
    return "".join(out)


def _mend_seam(before: str, after: str) -> tuple[str, str]:
    """What stands on both sides of something that was removed, without the marks and blanks that belonged to it."""
    for _ in range(2):  # 『「」』
        if before and after and _QUOTED.get(before[-1]) == after[0]:
            before, after = before[:-1], after[1:]
    left, right = before[-1:], after[:1]
    if left == " ":
        if before.endswith("\n- "):
            after = after.lstrip(" ")
        elif right == " " and "\u3000" <= after[1:2] <= "\u9fff":
            before, after = before[:-1], after[1:]
        elif right and right in " ,.;:)":
            before = before[:-1]
    elif left == "\n":
        if not before.endswith("=\n") and after.lstrip().startswith(_CLOSING):
            before, after = before[:-1], after.lstrip()
    elif left == "、" and right and right in "、。":
        before = before[:-1]
    elif left == "。" and right and right in "。、":
        after = after[1:]
    return before, after


def _mend_brackets(line: str, words: Words) -> str:
    for _ in range(3):  # a bracket that went may have been all that another one held
        line, count = _ROUND.subn(lambda match: _mend(match[0], words), line)
        if not count:
            break
    return line


def _mend(bracket: str, words: Words) -> str:
    """One bracket without the parts of which nothing is left; MARK where that is all of it."""
    tokens = _PART.split(bracket[1:-1])
    kept: list[str] = []
    for index in range(0, len(tokens), 2):
        part = tokens[index]
        bare = part.replace(MARK, "")
        if MARK in part:
            bare = re.sub(r" {2,}", " ", bare).rstrip(" ")
            # 'ビスラマ語: ' announced what is gone
            if words.dangling.fullmatch(bare) or bare.rstrip().endswith((":", "：")):
                continue
        elif not bare.strip():
            continue
        if kept:
            kept.append(tokens[index - 1])
        kept.append(bare)
    inner = "".join(kept).strip()
    return f"{bracket[0]}{inner}{bracket[-1]}" if inner else MARK
