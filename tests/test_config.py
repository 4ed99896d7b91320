"""What configuration may say, and how every mistake is answered: file, value, way out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from corpuskit.config import (
    Pipeline,
    Source,
    UserError,
    data_dir,
    load_pipeline,
    load_upstream,
    load_yaml,
    parse_range,
    sample_dir,
    suggest,
)
from corpuskit.filters.clean import signal_names
from corpuskit.filters.rules import check_signals
from corpuskit.rulesets import Rule, load_rules, presets

LANGUAGES = ("ja", "en", "code")


@pytest.mark.parametrize(("text", "numbers"), [("7", [7]), ("0-0", [0]), ("0-3", [0, 1, 2, 3]), ("09-11", [9, 10, 11])])
def test_a_range_is_inclusive(text: str, numbers: list[int]) -> None:
    assert list(parse_range(text, "--shards")) == numbers


@pytest.mark.parametrize("text", ["", "3-1", "a", "1-", "-1", "1-2-3", "1,2", " 1", "1.5", "1-2\n"])
def test_what_is_no_range_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"(?s)--shards: shards .* is not a range such as 0-15"):
        parse_range(text, "--shards")


def test_suggestion_names_the_closest_word_and_all_known_ones() -> None:
    assert suggest("jaa", ["ja", "en"]) == "; did you mean ja? (known: en, ja)"
    assert suggest("xyz", ["ja", "en"]) == " (known: en, ja)"


def a_source(**changes: Any) -> Source:
    return Source(**{"name": "mc4", "reader": "jsonl", "url": "https://host.example/a.json.gz", **changes})


def test_a_source_without_shards_is_one_file() -> None:
    assert a_source().urls() == ["https://host.example/a.json.gz"]
    assert list(a_source().shard_numbers()) == []


def test_shard_numbers_are_put_into_the_url() -> None:
    source = a_source(url="https://host.example/{shard:05d}-of-01024.json.gz", shards="9-11")
    assert source.urls() == [f"https://host.example/{n}-of-01024.json.gz" for n in ("00009", "00010", "00011")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shards": "0-1"}, "belong together"),
        ({"url": "https://host.example/{shard}.gz"}, "belong together"),
        ({"index": "https://host.example/index.txt.bz2"}, "'index' belongs to the reader wikipedia"),
        ({"fields": {"text": "a,b"}}, "no comma"),
        ({"fields": {"body": "text"}}, "body"),
        ({"reader": "morse"}, "reader"),
        ({"name": "MC 4"}, "name"),
        ({"name": "_mc4"}, "name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        a_source(**changes)


def test_configuration_does_not_change_after_loading() -> None:
    rule = Rule(name="short", signal="num_chars", min=200, source="own")
    with pytest.raises(ValidationError, match="frozen"):
        rule.min = 100  # type: ignore[misc]


def test_a_rule_needs_a_bound() -> None:
    with pytest.raises(ValidationError, match="rule short has neither min nor max"):
        Rule(name="short", signal="num_chars", source="own")


def test_a_bound_of_zero_is_a_bound() -> None:
    assert Rule(name="none", signal="mojibake_per_char", max=0, source="own").max == 0


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_shipped_pipeline_loads_and_names_rules_that_exist(lang: str) -> None:
    pipeline = load_pipeline(lang)
    rules = load_rules(lang, pipeline.rules)
    assert (pipeline.lang, rules.lang, rules.name) == (lang, lang, pipeline.rules)
    check_signals(rules, signal_names(pipeline.measuring()))
    for profile in pipeline.profiles.values():
        names = [source.name for source in profile.sources]
        assert names and len(set(names)) == len(names)
        assert set(profile.also) <= set(LANGUAGES) - {lang}
        urls = [url for source in profile.sources for url in source.urls()]
        assert len(set(urls)) == len(urls) and all(url.startswith("https://") for url in urls)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_shipped_rule_has_its_own_name_and_says_where_it_comes_from(lang: str) -> None:
    for name in presets(lang):
        rules = load_rules(lang, name).rules
        assert len({rule.name for rule in rules}) == len(rules) > 0
        assert all(len(rule.source) > 10 for rule in rules)


def test_the_sample_profile_reads_files_that_lie_in_the_package() -> None:
    for lang in LANGUAGES:
        for source in load_pipeline(lang).profile("sample").sources:
            for url in [*source.urls(), *([source.index] if source.index else [])]:
                assert (sample_dir() / url.removeprefix("https://")).is_file(), url


def test_without_a_preset_the_languages_own_default_is_loaded() -> None:
    assert load_rules("ja").name == "corpuskit-ja"


@pytest.mark.parametrize("lang", ["jaa", "../ja", "JA", "", "ja/../en", "."])
def test_an_unknown_language_is_answered_with_the_known_ones(lang: str) -> None:
    with pytest.raises(UserError, match=r"--lang .*\(known: code, en, ja\)"):
        load_pipeline(lang)
    with pytest.raises(UserError, match=r"--lang .*known: .*ja"):
        load_rules(lang)


def test_an_unknown_preset_is_answered_with_the_closest_one() -> None:
    with pytest.raises(UserError, match=r"--rules corpuskit_ja: .*did you mean corpuskit-ja\?"):
        load_rules("ja", "corpuskit_ja")


def test_an_unknown_profile_is_answered_with_the_closest_one() -> None:
    with pytest.raises(UserError, match=r"--profile sampel: pipeline ja has no such profile; did you mean sample\?"):
        load_pipeline("ja").profile("sampel")


def test_rules_may_be_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nlang: ja\ndescription: 試し\nrules:\n  - {name: 短い, signal: num_chars, min: 10, source: own}\n",
        encoding="utf-8",
    )
    rules = load_rules("ja", str(path))
    assert (rules.name, rules.rules[0].name, rules.rules[0].min, rules.rules[0].max) == ("mine", "短い", 10, None)
    with pytest.raises(UserError, match=r"other\.yaml: no such file"):
        load_rules("ja", str(tmp_path / "other.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n- b\n", "expected a mapping with the fields name, lang, description, extends"),
        ("", "expected a mapping"),
        ("name: [", "not valid YAML"),
        ("name: x\nlang: ja\ndescription: d\nruls: []\n", r"did you mean rules\?|rules: Field required"),
        ("name: x\nlang: ja\ndescription: d\nrules: []\nruls: []\n", r"ruls: .*did you mean rules\?"),
        (
            "name: x\nlang: ja\ndescription: d\nrules: [{name: a, signal: s, min: many, source: o}]",
            r"rules\.0\.min: .*number",
        ),
        ("name: x\nlang: ja\ndescription: d\nrules: [{name: a, signal: s, source: o}]", "neither min nor max"),
    ],
)
def test_a_rule_file_with_a_mistake_is_named_with_it(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        load_rules("ja", str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_yaml_that_cannot_be_read_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    for path in (tmp_path / "latin.yaml", tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            load_yaml(path)


def test_yaml_makes_no_python_objects(tmp_path: Path) -> None:
    (tmp_path / "evil.yaml").write_text("!!python/object/apply:os.getcwd []", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        load_yaml(tmp_path / "evil.yaml")


@pytest.mark.parametrize(
    "change",
    [{"dedup": {"threshold": 0}}, {"dedup": {"ngram": 0}}, {"normalize": "nfkc"}, {"privacy": ["face"]}, {"lang": "J"}],
)
def test_a_pipeline_says_nothing_impossible(change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"lang": "ja", "description": "", "normalize": "none", "rules": "r", "profiles": {}}
    Pipeline(**fields)
    with pytest.raises(ValidationError):
        Pipeline(**{**fields, **change})


def test_a_source_takes_from_the_upstream_dataset_it_uses_what_it_does_not_say_itself() -> None:
    [oscar] = load_pipeline("ja").profile("oscar").sources
    assert (oscar.name, oscar.reader, oscar.shards, len(oscar.urls())) == ("oscar", "jsonl", "1-123", 123)
    assert oscar.urls()[0].endswith("/OSCAR-2301/resolve/main/ja_meta/ja_meta_part_1.jsonl.zst")
    assert (oscar.fields.text, oscar.fields.timestamp) == ("content", "warc_headers.warc-date")
    wikis = load_pipeline("ja").profile("wiki").sources
    assert [s.name for s in wikis] == ["jawiki", "jawikibooks", "jawikinews"]
    assert wikis[1].url.endswith("/jawikibooks/20261101/jawikibooks-20261101-pages-articles-multistream.xml.bz2")
    assert wikis[1].index == wikis[1].url.removesuffix(".xml.bz2") + "-index.txt.bz2"


def test_what_an_upstream_dataset_needs_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"say 'with: \{wiki: ...\}'"):
        load_upstream("wikimedia").source("wikimedia", {"name": "w"})
    with pytest.raises(UserError, match="has no url that follows a pattern"):
        load_upstream("refinedweb").source("refinedweb", {"name": "w"})
    with pytest.raises(UserError, match="did you mean fineweb"):
        load_upstream("finweb")


def test_every_upstream_dataset_loads_and_says_what_it_is() -> None:
    names = sorted(p.stem for p in (data_dir("pipelines") / "sources").glob("*.yaml"))
    assert len(names) >= 16
    for name in names:
        upstream = load_upstream(name)
        assert upstream.homepage.startswith("https://") and len(upstream.about) > 100 and upstream.licence
        given = {"name": "a", "with": {"lang": "ja", "wiki": "jawiki", "part": "p", "files": "1", "chunk": "1"}}
        if upstream.url:
            assert Source(**upstream.source(name, given)).urls()


def test_what_comes_from_the_hub_is_pinned_to_a_commit_or_says_why_not() -> None:
    folder = data_dir("pipelines") / "sources"
    loose = set()
    for path in folder.glob("*.yaml"):
        upstream = load_upstream(path.stem)
        if upstream.url and "huggingface.co" in upstream.url:
            assert "/resolve/{revision}/" in upstream.url
            if not re.fullmatch("[0-9a-f]{40}", upstream.variables["revision"]):
                assert "# not pinned: " in path.read_text(encoding="utf-8"), path
                loose.add(path.stem)
    assert loose == {"oscar_2301", "culturax"}


def test_the_stack_names_its_files_the_same_way_in_both_places() -> None:
    [stack] = load_pipeline("code").profile("stack").sources
    assert stack.url.endswith("/data/python/data-{shard:05d}-of-00144.parquet")
    assert 'files: "00144"' in load_upstream("the_stack").about


def test_the_full_profile_has_not_grown() -> None:
    assert [s.name for s in load_pipeline("ja").profile("full").sources] == ["jawiki", "cc100", "mc4"]
    assert [s.name for s in load_pipeline("en").profile("full").sources] == ["enwiki", "cc100", "c4"]
