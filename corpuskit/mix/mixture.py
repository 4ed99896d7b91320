"""A mixture: shares by language, measured in tokens, and what they come to on the bins at hand.

    corpuskit mix --ja 0.57 --en 0.31 --weights fineweb2-jpn

The file mix/mixture.json holds what was asked and what is used; the plan follows from it and from the bins alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field

from corpuskit.config import Strict, UserError, suggest
from corpuskit.dedup.weights import Weights, load_weights
from corpuskit.engine.store import write_json

FILE = "mixture.json"
MOST_EPOCHS = 1000


class Mixture(Strict):
    """What fraction of the training tokens comes from which language."""

    asked: dict[str, float]  # as given by the user
    shares: dict[str, Annotated[float, Field(ge=0)]] = Field(min_length=1)  # used; they sum to 1
    tokens: int | None = Field(default=None, gt=0)  # length of the training, None: as long as max_epochs allows
    # how often a language may be repeated (Muennighoff et al. 2023)
    max_epochs: float = Field(default=4.0, gt=0, le=MOST_EPOCHS)
    seed: int = 0
    weights: dict[str, Weights] = Field(default={})  # by language; without, every document counts once


def make_mixture(
    asked: dict[str, float],
    available: list[str],
    *,
    tokens: int | None = None,
    max_epochs: float = 4.0,
    seed: int = 0,
    weights: Sequence[str] = (),
) -> tuple[Mixture, str | None]:
    """A mixture from the shares a user asked for, and a sentence on what became of a missing rest, or None.

    Shares that sum to less than 1 leave a rest. It goes to the one language of the workspace that was not named; where
    there is none, all shares grow in proportion. Shares that sum to 1 are used as they are.

    Raises:
        UserError: unknown language, a share outside (0, 1], a sum above 1, or more than one language for the rest.
    """
    if not asked:
        raise UserError("no shares given; write for example: corpuskit mix --ja 0.57 --en 0.31")
    for lang, share in asked.items():
        if lang not in available:
            raise UserError(f"--{lang}: no corpus of '{lang}' in this workspace{suggest(lang, available)}")
        if not 0 < share <= 1:
            raise UserError(f"--{lang} {share}: a share lies between 0 and 1")
    total = sum(asked.values())
    if total > 1 + 1e-9:
        raise UserError(f"the shares sum to {total:g}; they may sum to 1 at most")
    shares, note = dict(asked), None
    rest = 1 - total
    if rest > 1e-9:
        others = [lang for lang in available if lang not in asked]
        if len(others) > 1:
            raise UserError(
                f"the shares sum to {total:g}; say which language gets the other {rest:g}: "
                + ", ".join(f"--{lang} SHARE" for lang in others)
            )
        if others:
            shares[others[0]] = rest
            note = f"The shares sum to {total:g}; the other {rest:g} goes to {others[0]}."
        else:
            shares = {lang: share / total for lang, share in asked.items()}
            used = ", ".join(f"{lang} {share:.4f}" for lang, share in shares.items())
            note = f"The shares sum to {total:g} and no other language is in this workspace, so they become {used}."
    tables: dict[str, Weights] = {}
    for name in weights:
        lang, table = load_weights(name)
        if lang not in shares:
            raise UserError(f"--weights {name}: weighs documents of '{lang}', which is not in this mixture")
        if lang in tables:
            raise UserError(f"--weights {name}: '{lang}' has weights already, {tables[lang].name}; give one of them")
        tables[lang] = table
    mixture = Mixture(asked=asked, shares=shares, tokens=tokens, max_epochs=max_epochs, seed=seed, weights=tables)
    return mixture, note


def save_mixture(workspace: Path, mixture: Mixture) -> Path:
    """Write mix/mixture.json."""
    path = workspace / "mix" / FILE
    write_json(path, mixture.model_dump(mode="json"))
    return path


def load_mixture(workspace: Path) -> Mixture | None:
    """The workspace's mixture, or None when none was made yet."""
    path = workspace / "mix" / FILE
    if not path.is_file():
        return None
    try:
        return Mixture.model_validate(orjson.loads(path.read_bytes()))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}); run corpuskit mix again") from error
