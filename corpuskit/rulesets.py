"""What a rule file may say, and the rules that result: a preset by name, or a file with what it extends."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from corpuskit.config import Strict, UserError, data_dir, is_path, load_file, suggest

# A number that is one as a float32 too, which is what signals are compared as.
Bound = Annotated[float, Field(ge=-3.4e38, le=3.4e38, allow_inf_nan=False)]


# The funnel counts what deduplication removes under these names.
RESERVED = (
    *("url_duplicate", "exact_duplicate", "normalized_duplicate", "near_duplicate"),
    *("repeated_span", "frequent_paragraphs", "common_document"),
)


class Rule(Strict):
    """A bound on one signal. A document fails the rule when the signal lies outside [min, max], or is no number.

    `severities` are further bounds beyond the one that decides, each stricter to fail than the one before: a document
    that fails the rule has severity 1, and one more for each of them it is beyond as well. They decide nothing; they
    sort what was removed (uzushio's pipeline asks the same filter again and again at rising strictness for this).
    """

    name: str = Field(pattern=r"^[\w.-]{1,80}$")
    signal: str
    min: Bound | None = None
    max: Bound | None = None
    severities: tuple[Bound, ...] = ()
    source: str = Field(min_length=1)  # paper and table, or repository, and where this bound deviates from it

    @model_validator(mode="after")
    def _has_a_bound(self) -> Rule:
        if self.name in RESERVED:
            raise ValueError(f"rule {self.name}: what deduplication removes is counted by this name; choose another")
        if self.min is None and self.max is None:
            raise ValueError(f"rule {self.name} has neither min nor max")
        if self.min is not None and self.max is not None:
            if self.min > self.max:
                raise ValueError(f"rule {self.name}: min {self.min:g} is above max {self.max:g}")
            if self.severities:
                raise ValueError(f"rule {self.name}: severities need one bound, min or max; make two rules of it")
        bounds = [b for b in (self.min, self.max) if b is not None]
        rising = [*bounds[-1:], *self.severities] if self.min is None else [*self.severities[::-1], *bounds[:1]]
        if self.severities and any(a >= b for a, b in itertools.pairwise(rising)):
            away = "above max and rise" if self.min is None else "below min and fall"
            raise ValueError(f"rule {self.name}: severities lie {away}, each beyond the one before")
        return self


class RuleSet(Strict):
    """The rules of one preset, in the order in which the first failing one is named."""

    name: str
    lang: str
    description: str
    rules: tuple[Rule, ...]


class RuleChange(Strict):
    """What a rule file says anew about a rule it takes over; what it does not say stays."""

    signal: str | None = None
    min: Bound | None = None  # null takes the bound away
    max: Bound | None = None
    severities: tuple[Bound, ...] = ()
    source: str | None = None


class RuleFile(Strict):
    """A file of rules: its own, or those of the preset or file it extends, changed, dropped and added to."""

    name: str
    lang: str
    description: str
    extends: str | None = None  # a preset of the same language, or a file, relative to this one
    change: dict[str, RuleChange] = Field(default={})  # by name of rule
    drop: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()

    def resolve(self, base: RuleSet | None) -> RuleSet:
        """The rules that result, those of the base first.

        Raises:
            UserError: a rule to change or to drop is not in the base, a name comes twice, or nothing is left.
        """
        inherited = {rule.name: rule for rule in base.rules} if base else {}
        for key, names in (("change", self.change), ("drop", self.drop)):
            for name in names:
                if not base:
                    raise UserError(f"{key}: {name}: there is nothing to {key} without 'extends'")
                if name not in inherited:
                    raise UserError(f"{key}: {base.name} has no rule '{name}'{suggest(name, inherited)}")
        for name in self.drop:
            if name in self.change:
                raise UserError(f"drop: {name}: is changed as well; say one of the two")
        kept = [self._changed(rule) for rule in inherited.values() if rule.name not in self.drop]
        seen: set[str] = set()
        for rule in (*kept, *self.rules):
            if rule.name in seen:
                known = rule.name in inherited
                raise UserError(f"rules: '{rule.name}' is there {'already; use change' if known else 'twice'}")
            seen.add(rule.name)
        if not seen:
            raise UserError("no rules: give 'rules', or 'extends'")
        return RuleSet(name=self.name, lang=self.lang, description=self.description, rules=(*kept, *self.rules))

    def _changed(self, rule: Rule) -> Rule:
        if rule.name not in self.change:
            return rule
        given = self.change[rule.name].model_dump(exclude_unset=True)
        moved = ", ".join(
            f"{key} {_say(getattr(rule, key))} -> {_say(value)}" for key, value in given.items() if key != "source"
        )
        try:
            return Rule(**({**rule.model_dump(), "source": f"{rule.source}; {self.name}: {moved}"} | given))
        except ValidationError as error:
            raise UserError(f"change: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def _say(value: Any) -> str:
    """A field of a rule in a sentence: 200, 200 50, num_chars, none."""
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    return " ".join(v if isinstance(v, str) else f"{v:g}" for v in values) or "none"


def load_rules(lang: str, preset: str | None = None) -> RuleSet:
    """A rule preset by name from rules/<lang>/, or a rule file by path, with what it extends.

    Without a preset the language's own default, corpuskit-<lang>, is loaded.

    Raises:
        UserError: no such language, preset or file, the file says something it may not, or is for another language.
    """
    if preset is not None and is_path(preset):
        load_rule_file(preset)
        rules = _load_rules(Path(preset), ())
        if rules.lang != lang:
            raise UserError(f"--rules {preset}: these are rules for {rules.lang}, not for {lang}")
        return rules
    folder = data_dir("rules") / lang
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", lang) or not (folder / f"corpuskit-{lang}.yaml").is_file():
        known = [p.parent.name for p in data_dir("rules").glob("*/corpuskit-*.yaml")]
        raise UserError(f"--lang {lang}: there are no rules for this language{suggest(lang, known)}")
    return _load_rules(_preset(lang, preset or f"corpuskit-{lang}", "--rules"), ())


def load_rule_file(path: str) -> RuleFile:
    """A rule file as it stands, without what it extends.

    Raises:
        UserError: no such file, or it says something it may not.
    """
    if not Path(path).is_file():
        raise UserError(f"--rules {path}: no such file")
    return load_file(Path(path), RuleFile)


def presets(lang: str) -> list[str]:
    """The names of the rule presets of a language: the files of rules/<lang>/ that say their own name."""
    files = (data_dir("rules") / lang).glob("*.yaml")
    return sorted(p.stem for p in files if re.search(rf"(?m)^name: {p.stem}$", p.read_text(encoding="utf-8")))


def _preset(lang: str, name: str, what: str) -> Path:
    folder = data_dir("rules") / lang
    known = presets(lang)
    if name not in known:
        raise UserError(f"{what} {name}: no such preset in {folder}{suggest(name, known)}")
    return folder / f"{name}.yaml"


_MOST_EXTENDED = 20  # files from a rule file to the preset it comes from


def _load_rules(path: Path, extended_by: tuple[Path, ...]) -> RuleSet:
    file = load_file(path, RuleFile)
    base = None
    if file.extends is not None:
        named = is_path(file.extends)
        other = path.parent / file.extends if named else _preset(file.lang, file.extends, f"{path}: extends")
        chain = (*extended_by, path.resolve())
        if other.resolve() in chain:
            raise UserError(f"{path}: extends {file.extends}, which extends this file")
        if len(chain) > _MOST_EXTENDED:
            raise UserError(f"{path}: is extended through more than {_MOST_EXTENDED} files")
        base = _load_rules(other, chain)
        if base.lang != file.lang:
            raise UserError(f"{path}: extends {file.extends}, rules for {base.lang} and not for {file.lang}")
    try:
        return file.resolve(base)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
