"""The wheel: built, installed elsewhere, run from another folder; what is in it and what is not."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    if importlib.util.find_spec("hatchling") and importlib.util.find_spec("build"):
        words = ["build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    else:
        words = ["pip", "wheel", "--disable-pip-version-check", "--no-deps", "--wheel-dir", str(out), str(ROOT)]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=300, check=False)
    unreachable = ("No matching distribution found for hatchling", "ConnectionError", "Could not find a version")
    if done.returncode and any(word in done.stderr + done.stdout for word in unreachable):
        pytest.skip("the build backend hatchling is not installed and cannot be fetched")
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = out.glob("corpuskit-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    words = ["pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([sys.executable, "-m", *words, str(wheel)], capture_output=True, check=True, timeout=120)
    # what numba compiled for the checkout is taken along, by source file and its time: compiling takes a minute
    for made in (ROOT / "corpuskit").rglob("__pycache__/*.nb[ci]"):
        source = made.parent.parent / f"{made.name.split('.')[0]}.py"
        copied = target / source.relative_to(ROOT)
        if copied.is_file() and copied.read_bytes() == source.read_bytes():
            shutil.copystat(source, copied)
            (copied.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy(made, copied.parent / "__pycache__")
    return target


def run(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=200, check=False)


def test_the_wheel_holds_the_data_a_user_needs_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder, suffix in (("rules", "*"), ("pipelines", "*.yaml"), ("corpuskit", "*")):
        here = [p for p in (ROOT / folder).rglob(suffix) if p.is_file() and "__pycache__" not in p.parts]
        prefix = "" if folder == "corpuskit" else "corpuskit/"
        assert here
        assert [p for p in here if f"{prefix}{p.relative_to(ROOT).as_posix()}" not in names] == []
    for name in (
        "corpuskit/sample/expected.tsv",
        "corpuskit/sample/data.statmt.org/cc-100/ja.txt.xz",
        "corpuskit/train/configs/tiny.yaml",
        "corpuskit/rules/ja/corpuskit-ja.yaml",
        "corpuskit/rules/privacy/patterns.yaml",
        "corpuskit/pipelines/ja.yaml",
    ):
        assert name in names
    roots = {name.split("/")[0] for name in names}
    assert len(roots) == 2
    assert "corpuskit" in roots
    assert not [n for n in names if "test" in n.lower() or "__pycache__" in n or n.endswith((".txt.bak", ".pyc"))]


def test_the_wheel_states_its_command_extras_and_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    read = {name.split("/")[-1]: name for name in archive.namelist() if ".dist-info/" in name}
    assert "corpuskit = corpuskit.cli:main" in archive.read(read["entry_points.txt"]).decode()
    metadata = archive.read(read["METADATA"]).decode()
    for extra in ("train", "s3", "report", "dev"):
        assert f"Provides-Extra: {extra}" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "LICENSE" in read


def test_it_builds_the_sample_from_another_folder(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, sys.executable, "-c", "import corpuskit; print(corpuskit.__file__)")
    assert where.stdout.startswith(str(installed)), "this would test the checkout"
    done = run(
        installed,
        tmp_path,
        *(sys.executable, str(installed / "bin" / "corpuskit"), "corpus", "--lang", "ja"),
        *("--executor", "local", "--json"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sorted(result["languages"]) == ["code", "en", "ja"]
    assert result["languages"]["ja"]["total"]["in"] >= 300
    assert (tmp_path / "workspace" / "report" / "index.html").is_file()
    assert not [p for p in tmp_path.iterdir() if p.name != "workspace"]


def test_it_finds_its_rules_and_trainer_configurations(installed: Path, tmp_path: Path) -> None:
    code = (
        "from corpuskit import config, rulesets; from corpuskit.train.config import load_config;"
        "print(config.data_dir('rules')); print(rulesets.load_rules('en').name); load_config('tiny')"
    )
    done = run(installed, tmp_path, sys.executable, "-c", code)
    assert done.stdout.splitlines() == [str(installed / "corpuskit" / "rules"), "corpuskit-en"], done.stderr
