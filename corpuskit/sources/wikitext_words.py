"""The word lists of rules/wikitext.yaml as compiled expressions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from corpuskit.config import data_dir, load_yaml

MARK = "\x03"  # something without words stood here
UNCLOSED = "\x04"  # a template that began here and did not end
COLON = "\x05"  # a link begins here whose target has a colon near its beginning

# Literal text, or a parameter by its names: the first that is given, ("label", "1"). A template is a list of Patterns.
Part = str | tuple[str, ...]
Pattern = list[Part]


@dataclass(frozen=True, slots=True)
class Words:
    """rules/wikitext.yaml, compiled."""

    redirect: re.Pattern[str]
    disambiguation: re.Pattern[str]
    sections: frozenset[str]
    section_joint: re.Pattern[str]
    dropped_tags: re.Pattern[str]
    line_tags: re.Pattern[str]
    inline_tags: re.Pattern[str]
    magic_words: re.Pattern[str]
    hidden_link: re.Pattern[str]
    broken_file: re.Pattern[str]
    prefixed_link: re.Pattern[str]
    templates: dict[str, list[Pattern]]
    beginnings: dict[str, list[Pattern]]
    dangling: re.Pattern[str]


def _any(names: Iterable[str]) -> str:
    """An expression for any of these names; in longer names first, a space also matches '_'."""
    ordered = sorted(set(names), key=lambda name: (-len(name), name))
    return "(?:" + "|".join(re.escape(name).replace(r"\ ", "[ _]") for name in ordered) + ")"


def _patterns(value: str | list[str]) -> list[Pattern]:
    """'{label/1}年' -> [[("label", "1"), "年"]]."""
    found: list[Pattern] = []
    for form in [value] if isinstance(value, str) else value:
        if form in ("measure", "as of"):
            found.append([(form,)])
            continue
        pieces = re.split(r"\{([^{}]+)\}", form)
        found.append([tuple(piece.split("/")) if i % 2 else piece for i, piece in enumerate(pieces) if piece])
    return found


@cache
def word_lists() -> Words:
    data = load_yaml(data_dir("rules") / "wikitext.yaml")
    files = _any(data["file_prefixes"])
    codes = _any(data["language_codes"].split())
    # that a colon follows at all is looked up first: most links have none, and the codes are many
    hidden = rf"(?=[^\[\]|{{}}\n:]{{1,14}}+:)(?:(?:{files}|{_any(data['category_prefixes'])})[ \t]*+:|{codes}:)"
    # the text of a caption: links, bracketed links and line ends, no blank line
    plain = r"[^\[\]\n]*+"
    caption = rf"{plain}(?:(?:\n(?!\n)|\[\[[^\[\]]*+\]\]|\[(?!\[)[^\[\]\n]*+\])[^\[\]\n]*+)*+"
    projects = _any(data["project_prefixes"])
    dropped = _any(data["dropped_tags"])
    endings = _any(data["disambiguation_endings"])
    names = _any(data["disambiguation_templates"])
    return Words(
        redirect=re.compile(rf"\s*+#\s*+{_any(data['redirect_words'])}\s*+:?\s*+\[\[", re.IGNORECASE),
        disambiguation=re.compile(rf"\{{\{{\s*+(?:{names}|[^{{}}|\n]{{1,60}}?{endings})\s*+[|}}]", re.IGNORECASE),
        sections=frozenset(name.casefold() for name in data["dropped_sections"]),
        section_joint=re.compile("|".join(map(re.escape, data["section_joints"]))),
        dropped_tags=re.compile(
            rf"<({dropped})(?=[\s/>])[^<>]*+(?:(?<=/)>|>[^<]*+(?:<(?!/?\1\b)[^<]*+)*+</\1\s*+>)", re.IGNORECASE
        ),
        line_tags=re.compile(rf"</?{_any(data['line_tags'])}(?=[\s/>])[^<>]*+>", re.IGNORECASE),
        inline_tags=re.compile(
            rf"</?{_any([*data['inline_tags'], *data['dropped_tags'], 'li'])}(?=[\s/>])[^<>]*+>", re.IGNORECASE
        ),
        magic_words=re.compile(rf"__{_any(data['magic_words'])}__"),
        hidden_link=re.compile(rf"{COLON}\[\[[ \t]*+{hidden}{caption}\]\]", re.IGNORECASE),
        broken_file=re.compile(rf"{COLON}\[\[[ \t]*+{files}[ \t]*+:[^\n]*+", re.IGNORECASE),
        prefixed_link=re.compile(
            rf"{COLON}\[\[[ \t]*+"
            rf"(?:(?=[^\[\]|{{}}\n:]{{1,14}}+:){projects}:|:[ \t]*+(?:(?:{projects}|{codes}):)?+(?!\]))",
            re.IGNORECASE,
        ),
        templates={name: _patterns(value) for name, value in data["inline_templates"].items()},
        beginnings={name: _patterns(value) for name, value in data["inline_template_beginnings"].items()},
        dangling=re.compile(rf"\s*+(?:{_any(data['dangling_words'])})?\s*+[:：]?\s*+", re.IGNORECASE),
    )
