"""The three stages that make a corpus of documents, each on any shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from corpuskit.config import Dedup, RuleSet
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Runner, map_shards
from corpuskit.engine.store import Receipt


def clean(
    shards: Sequence[Shard],
    *,
    out: Path,
    runner: Runner,
    rules: RuleSet,
    normalize: str,
    language: str | None,
    lid_model: str | None = None,
) -> list[Receipt]:
    """Read, normalise, measure and decide; kept/, removed/, signals/ and quarantined/ in `out`.

    Raises:
        UserError: a rule names an unknown signal, or the language model is not to be had.
    """
    from corpuskit.filters.clean import STAGE, signal_names
    from corpuskit.filters.language import find_model
    from corpuskit.filters.rules import as_params, check_signals

    check_signals(rules, signal_names(language))
    if language:
        model = find_model(lid_model)
        shards = [replace(s, inputs=(*s.inputs, model)) for s in shards]
    params = {"normalize": normalize, "language": language, "rules": as_params(rules)}
    return map_shards(STAGE, shards, out=out, params=params, runner=runner)


def deduplicate(shards: Sequence[Shard], *, out: Path, root: Path, params: Dedup, runner: Runner) -> list[Receipt]:
    """Remove exact and near duplicates over all given documents files; see corpuskit/dedup."""
    from corpuskit.dedup.stage import dedup

    return dedup(shards, out=out, root=root, params=params, runner=runner)


def scrub(shards: Sequence[Shard], *, out: Path, types: Sequence[str], runner: Runner) -> list[Receipt]:
    """Mask personal information; kept/ and findings/ in `out`."""
    from corpuskit.privacy.scrub import STAGE

    return map_shards(STAGE, shards, out=out, params={"types": list(types)}, runner=runner)
