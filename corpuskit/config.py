"""What a pipeline, an upstream file and a mixture may say, validated; rule files are in rulesets.py.

Everything a user can get wrong ends in a `UserError`: one line with the file, the value and the way out. The command
line prints it and leaves with exit code 2 (with 1 after a `Failure`). Programming errors stay ordinary exceptions.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

T = TypeVar("T", bound="Strict")

KeepRemoved = Literal["all", "sample", "none"]  # what is written of documents that a step removes


class UserError(Exception):
    """A mistake the user can mend; the message names the file, the value and what to do."""


class Failure(Exception):
    """Something failed that is no mistake of the user: a host that does not answer, shards that cannot be made."""


class Strict(BaseModel):
    """Base of all configuration: unknown fields are mistakes, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fields(Strict):
    """Where a record keeps what a document has: field names, or paths such as warc_headers.warc-date."""

    text: str = "text"
    url: str = "url"
    timestamp: str = "timestamp"
    keep: tuple[str, ...] | None = None  # what else goes to meta.fields; null: everything

    @model_validator(mode="after")
    def _no_commas(self) -> Fields:
        if any("," in path or not path for path in (self.text, self.url, self.timestamp, *(self.keep or ()))):
            raise ValueError("a field path is not empty and has no comma")
        return self


class Source(Strict):
    """One upstream dataset of a pipeline. `use: NAME` takes what it does not say from pipelines/sources/NAME.yaml."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    reader: Literal["jsonl", "cc100", "wikipedia", "cirrus", "parquet", "csv", "lines", "warc", "wet", "aozora"]
    url: str  # may hold {shard:05d}
    shards: str | None = None  # inclusive range such as 0-1023, for a url with {shard}
    first_shards: str | None = None  # the part of them that is taken unless --shards says otherwise
    index: str | None = None  # the multistream index of a Wikipedia dump; without it the dump is one shard
    fields: Fields = Fields()
    bytes: int = 0  # download size, for the plan that is shown before anything is fetched

    @model_validator(mode="after")
    def _shards_match_the_url(self) -> Source:
        if ("{shard" in self.url) != (self.shards is not None):
            raise ValueError(f"source {self.name}: 'shards' and a {{shard}} in 'url' belong together")
        if self.first_shards is not None:
            self.cut(self.first_shards, f"source {self.name}: first_shards")
        if self.index is not None and self.reader != "wikipedia":
            raise ValueError(f"source {self.name}: 'index' belongs to the reader wikipedia")
        return self

    def shard_numbers(self) -> range:
        """The shard numbers this source asks for; empty where the url is a single file."""
        return parse_range(self.shards, f"source {self.name}") if self.shards else range(0)

    def cut(self, shards: str, what: str) -> Source:
        """This source with these of its numbered files alone, and their part of its bytes.

        Raises:
            UserError: the range leaves the source's own; `what` names where it was given.
        """
        wanted, full = parse_range(shards, what), self.shard_numbers()
        if wanted.start not in full or wanted[-1] not in full:
            raise UserError(f"{what} {shards}: source {self.name} has the shards {self.shards}")
        return self.model_copy(update={"shards": shards, "bytes": self.bytes * len(wanted) // len(full)})

    def urls(self) -> list[str]:
        """The upstream files of this source, in order."""
        if self.shards is None:
            return [self.url]
        return [self.url.format(shard=n) for n in self.shard_numbers()]


class Upstream(Strict):
    """What is known of one upstream dataset: `pipelines/sources/<name>.yaml`, which a profile's sources can `use`."""

    title: str
    homepage: str
    licence: str
    about: str  # what it is, how large, how to get it, its quirks; [?] marks what was not checked
    reader: str
    url: str | None = None  # may hold {variables} and {shard:05d}; null: its files are found by a list or by hand
    index: str | None = None
    shards: str | None = None
    fields: Fields = Fields()
    variables: dict[str, str] = {}  # values of the {variables} in url and index, which `with` overrides
    bytes: dict[str, int] = {}  # download size by language, as far as it is known

    def source(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The source that `use: name` and the fields given beside it make.

        Raises:
            UserError: a variable of the URL has no value, or there is no URL at all.
        """
        values = self.variables | {k: str(v) for k, v in (given.pop("with", None) or {}).items()}

        def fill(template: str) -> str:
            missing = set(re.findall(r"\{(\w+)\}", template)) - set(values) - {"shard"}
            if missing:
                raise UserError(f"use: {name}: say 'with: {{{sorted(missing)[0]}: ...}}', which its url needs")
            return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)

        if self.url is None and "url" not in given:
            raise UserError(f"use: {name}: this dataset has no url that follows a pattern; give one, or use --input")
        own: dict[str, Any] = {
            "name": name,
            "reader": self.reader,
            "shards": self.shards,
            "fields": self.fields.model_dump(),
        }
        own |= {key: fill(value) for key in ("url", "index") if (value := getattr(self, key)) and key not in given}
        own["bytes"] = self.bytes.get(values.get("lang", ""), 0)
        return own | given


class Profile(Strict):
    """Which sources one build reads, and how large its tokenizer is."""

    sources: tuple[Source, ...]
    also: tuple[str, ...] = ()  # languages built along with this one
    mirror: str | None = None  # 'sample' reads the files bundled in the package
    vocab_size: int = Field(default=32000, ge=300, le=1 << 20)
    disk_bytes: int = 0  # what a build of this profile needs on disk at most, roughly


class DedupPreset(Strict):
    """A named setting of MinHash LSH: rules/dedup/presets.yaml."""

    bands: int
    rows_per_band: int
    threshold: float
    verify: Literal["pairs", "sample"]
    source: str


class Dedup(Strict):
    """What counts as a duplicate, which copy stays, and what the search may cost.

    `preset` gives bands, rows_per_band, threshold and verify; what is said beside it replaces the preset's value.
    P(candidate | Jaccard s) = 1 - (1 - s^rows_per_band)^bands.
    """

    preset: str = "sharp"
    shingles: Literal["characters", "words"] = "characters"  # of the matching shadow; words where spaces part them
    ngram: int = Field(default=5, ge=1, le=32)  # characters or words per shingle
    bands: int = Field(ge=0, le=2048)  # 0: exact duplicates alone
    rows_per_band: int = Field(ge=1, le=1024)
    threshold: float = Field(gt=0, le=1)  # pairs below this true Jaccard are not joined, or counted as false merges
    verify: Literal["pairs", "sample"]
    transitive: bool = False  # whole components of true pairs, though their ends may be unlike
    exact: tuple[Literal["text", "shadow", "url"], ...] = ("text", "shadow")
    scope: Literal["all", "source"] = "all"  # across all sources, or within each alone
    survivor: tuple[Literal["quality", "length", "source", "newest", "oldest"], ...] = ("quality", "length", "source")
    quality: str | None = None  # the signal that `survivor` calls quality; the higher the better
    prefer: tuple[str, ...] = ()  # sources that stay before all others; patterns such as *wiki, or wikipedia
    drop_all: bool = False  # keep no copy of what has duplicates
    memory_gb: float = Field(default=4.0, gt=0, le=1e6)  # of one worker while it clusters; decides nothing else

    def __init__(self, **given: Any) -> None:  # for type checkers: the preset fills what is required
        super().__init__(**given)

    @model_validator(mode="before")
    @classmethod
    def _filled_by_the_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        presets = dedup_presets()
        name = data.get("preset", "sharp")
        if name not in presets:
            raise ValueError(f"no such preset '{name}'{suggest(str(name), presets)}")
        return presets[name].model_dump(exclude={"source"}) | data

    @model_validator(mode="after")
    def _finds_something(self) -> Dedup:
        if self.bands and 1 - (1 - 0.95**self.rows_per_band) ** self.bands < 0.5:
            misprint = (self.bands, self.rows_per_band) == (20, 450)
            raise ValueError(
                f"{self.bands} bands of {self.rows_per_band} rows find next to nothing, not even half the pairs of "
                "Jaccard 0.95; "
                + ("'20 x 450' is a misprint in RefinedWeb's text, " if misprint else "were the two swapped? ")
                + "preset refinedweb is 450 bands of 20 rows"
            )
        if not self.bands and not self.exact:
            raise ValueError("nothing to look for: neither near-duplicates nor exact ones")
        if self.transitive and (self.verify == "sample" or not self.bands):
            why = "removes whole components as it is" if self.bands else "looks for no near-duplicates"
            raise ValueError(f"transitive: preset {self.preset} {why}; leave transitive out, or take preset sharp")
        if len(set(self.survivor)) < len(self.survivor) or {"newest", "oldest"} <= set(self.survivor):
            raise ValueError("survivor: each word once, and one of newest and oldest")
        return self


def change_dedup(base: Dedup, changes: dict[str, Any]) -> Dedup:
    """Settings with some of them changed; another preset replaces what the old one gave.

    Raises:
        UserError: a value is not possible.
    """
    kept = base.model_dump(exclude=set(DedupPreset.model_fields) if "preset" in changes else None)
    try:
        return Dedup(**kept | changes)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"dedup: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from None


class Substring(Strict):
    """Exact repeated spans, cut from all but the first document that has them.

    RefinedWeb (arXiv 2306.01116, section 3.3 and appendix G.3) takes 50 tokens. In characters that is 101 of Japanese,
    198 of English and 138 of code, by the 2.02, 3.95 and 2.75 characters a token of llm-jp-tokenizer v3.0b1.
    """

    length: int = Field(default=100, ge=16, le=10_000)  # characters
    mode: Literal["cut", "mask", "drop"] = "cut"  # drop: documents of which more than drop_share repeats
    drop_share: float = Field(default=0.2, ge=0, lt=1)  # RefinedWeb's "drop partial"
    min_chars: int = Field(default=50, ge=0)  # less is left of a text: it goes; uzushio's least length of a document
    memory: int = Field(default=1 << 30, ge=1 << 20)  # bytes one range of windows may take; decides nothing else


class Paragraphs(Strict):
    """Boilerplate: lines that many documents have. The rules and their values are uzushio's (pipeline_03a.conf)."""

    documents: int = Field(default=100, ge=2)  # so many have a line that is frequent
    run: int = Field(default=3, ge=1)  # so many frequent lines in a row are cut, fewer at the ends of a text
    expected: float = Field(
        default=1.5, gt=0
    )  # a document of frequent lines stays with probability expected / frequency
    percentile: float = Field(default=0.1, ge=0, lt=1)  # of its lines, whose frequency is meant
    min_chars: int = Field(default=50, ge=0)  # less is left of a text: it goes
    memory: int = Field(default=1 << 30, ge=1 << 20)  # bytes one range of lines may take; decides nothing else


Family = Literal["characters", "lines", "repetition", "words", "word_repetition", "lists", "url", "upstream"]
FAMILIES: tuple[Family, ...] = get_args(Family)


class Measuring(Strict):
    """What `clean` does with a text before rules look at it; the part of a pipeline that says so."""

    lang: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    normalize: Literal["ja-safe", "none"]
    lines: str | None = None  # cut what rules/<lines>/lines.yaml names; null cuts nothing
    signals: tuple[Family, ...] = ("characters", "lines", "repetition", "words")  # the families that are measured
    blocklist: str | None = None  # a file of hosts, one a line, beside those of rules/url/hosts.txt
    language_id: str | None = None  # the fastText label documents should have; null measures no language


class Pipeline(Measuring):
    """How the corpus of one language is built: `pipelines/<lang>.yaml`."""

    description: str
    rules: str  # a preset of rules/<lang>/
    privacy: tuple[Literal["email", "phone_jp"], ...] = ()
    dedup: Dedup = Field(default_factory=Dedup)
    paragraphs: Paragraphs | None = None  # not looked at unless they are said
    substring: Substring | None = None
    profiles: dict[str, Profile]

    def measuring(self) -> Measuring:
        """What `clean` does, alone."""
        return Measuring(**{name: getattr(self, name) for name in Measuring.model_fields})

    def profile(self, name: str) -> Profile:
        """The named profile.

        Raises:
            UserError: the pipeline has no such profile.
        """
        if name not in self.profiles:
            raise UserError(f"--profile {name}: pipeline {self.lang} has no such profile{suggest(name, self.profiles)}")
        return self.profiles[name]


def parse_range(text: str, what: str) -> range:
    """'0-15' (inclusive) or '7' as a range.

    Raises:
        UserError: the text is neither.
    """
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not match or int(match[2] or match[1]) < int(match[1]):
        raise UserError(f"{what}: shards '{text}' is not a range such as 0-15")
    return range(int(match[1]), int(match[2] or match[1]) + 1)


def suggest(word: str, known: Any) -> str:
    """'; did you mean X? (known: A, B)' for an error about an unknown word."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return (f"; did you mean {close[0]}?" if close else "") + f" (known: {', '.join(names)})"


def check_utf8(name: str, what: str = "") -> None:
    """Refuse a name whose bytes are no UTF-8: no receipt could hold it.

    Raises:
        UserError: it is none; `what` says of which option it is.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode("utf-8", "backslashreplace").decode()
        raise UserError(f"{what}{shown}: is not UTF-8; rename it") from None


def data_dir(name: str) -> Path:
    """The folder `rules` or `pipelines`: inside the installed package, or at the root of a checkout."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


def sample_dir() -> Path:
    """The bundled sample: a small mirror of the upstream hosts."""
    return Path(__file__).parent / "sample"


def load_pipeline(lang: str) -> Pipeline:
    """The pipeline of a language.

    Raises:
        UserError: no pipeline for this language, or the file says something it may not.
    """
    folder = data_dir("pipelines")
    path = folder / f"{lang}.yaml"
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", lang) or not path.is_file():
        known = [p.stem for p in folder.glob("*.yaml")]
        raise UserError(f"--lang {lang}: there is no pipeline for this language{suggest(lang, known)}")
    data = load_yaml(path)
    profiles = data.get("profiles") if isinstance(data, dict) else None
    for profile in profiles.values() if isinstance(profiles, dict) else ():
        sources = profile.get("sources") if isinstance(profile, dict) else None
        if isinstance(sources, list):
            profile["sources"] = [_used(path, source) for source in sources]
    return _validated(path, data, Pipeline)


@functools.cache
def dedup_presets() -> dict[str, DedupPreset]:
    """The presets of rules/dedup/presets.yaml by name.

    Raises:
        UserError: the file says something it may not.
    """
    path = data_dir("rules") / "dedup" / "presets.yaml"
    return {name: _validated(path, values, DedupPreset) for name, values in load_yaml(path).items()}


def load_upstream(name: str) -> Upstream:
    """What is known of an upstream dataset.

    Raises:
        UserError: no such dataset in pipelines/sources, or its file says something it may not.
    """
    found = {p.stem: p for p in (data_dir("pipelines") / "sources").glob("*.yaml")}
    if name not in found:
        raise UserError(f"use: {name}: no such file in pipelines/sources{suggest(name, found)}")
    return load_file(found[name], Upstream)


def _used(path: Path, source: Any) -> Any:
    if not isinstance(source, dict) or "use" not in source:
        return source
    name = str(source["use"])
    try:
        return load_upstream(name).source(name, {k: v for k, v in source.items() if k != "use"})
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def is_path(preset: str) -> bool:
    """Whether --rules names a file, not a preset."""
    return preset.endswith((".yaml", ".yml")) or "/" in preset


_MOST_YAML = 1 << 20  # bytes


_MOST_MERGED = 10_000  # fields of one mapping


@functools.cache
def _safe_loader() -> type[Any]:
    """PyYAML's SafeLoader over libyaml's parser, where there is one: 10 times faster.

    Not CSafeLoader, which recurses in C and crashes on deep nesting.
    """
    if not yaml.__with_libyaml__:
        return yaml.SafeLoader

    parser = vars(yaml.cyaml)["CParser"]

    class Loader(Composer, parser, SafeConstructor, Resolver):  # type: ignore[misc, valid-type]
        def __init__(self, text: str) -> None:
            parser.__init__(self, text)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for key, times in Counter(keys).items():
                if times > 1 and key != "<<":
                    raise yaml.constructor.ConstructorError(None, None, f"'{key[:40]}' stands twice", node.start_mark)
            return SafeConstructor.construct_mapping(self, node, deep)

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            SafeConstructor.flatten_mapping(self, node)
            if len(node.value) > _MOST_MERGED:  # each << of a << multiplies them
                raise yaml.constructor.ConstructorError(None, None, "too much is merged by <<", node.start_mark)

    return Loader


def load_yaml(path: Path) -> Any:
    """Parse YAML safely.

    Raises:
        UserError: the file is missing, is not YAML, or is larger than any that is meant.
    """
    try:
        if path.stat().st_size > _MOST_YAML:
            raise UserError(f"{path}: larger than {_MOST_YAML >> 20} MB, which no file of rules or settings needs")
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_safe_loader())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number of thousands of digits, a day that is none
        raise UserError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply") from error


def load_file(path: Path, kind: type[T]) -> T:
    """A YAML file as what it has to say.

    Raises:
        UserError: it cannot be read, or says something it may not.
    """
    return _validated(path, load_yaml(path), kind)


def _validated(path: Path, data: Any, kind: type[T]) -> T:
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping with the fields {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = ""
        if first["type"] == "extra_forbidden":
            hint = suggest(str(first["loc"][-1]), _model_at(kind, first["loc"][:-1]).model_fields)
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {where + ': ' if where else ''}{message}{hint}") from error


def _model_at(kind: type[BaseModel], where: Sequence[str | int]) -> type[BaseModel]:
    """The model that validates what stands at this place of a file."""
    for part in where:
        field = kind.model_fields.get(str(part))
        if field is not None:  # else a number in a list, or a key of a mapping
            kind = next(_models(field.annotation), kind)
    return kind


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
