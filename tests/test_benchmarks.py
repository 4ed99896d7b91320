"""The benchmarks run: every step of benchmarks/run.py once, on a handful of documents."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from corpuskit.config import sample_dir
from corpuskit.sources.streams import as_input

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_run", ROOT / "benchmarks" / "run.py")
    assert spec and spec.loader
    sys.path.insert(0, str(ROOT / "benchmarks"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_step_runs(run: ModuleType, sample_run: tuple[Path, object], tmp_path: Path) -> None:
    model = as_input(str(sample_run[0] / "tokenizer" / "tokenizer.model"))
    mc4 = next(sample_dir().rglob("c4-ja.*.json.gz"))
    sets = run.small(run.Sets({"mc4": [mc4]}, tmp_path, lambda: model))
    measured = {}
    for name, step in run.STEPS.items():
        for case in step(sets):
            case.run()
            assert case.amount > 0, (name, case)
            measured[case.step] = case.unit
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert {"read", "signals", "clean", "decide", "dedup", "pack", "locate"} <= set(measured), json.dumps(measured)
