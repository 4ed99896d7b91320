"""One process: it learns, stops, goes on as if nothing had happened, and refuses what it should."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from train_toy import make_workspace, rows, write_config  # noqa: E402

from corpuskit.config import UserError  # noqa: E402
from corpuskit.mix.order import WindowOrder  # noqa: E402
from corpuskit.train import runs  # noqa: E402
from corpuskit.train.config import load_config  # noqa: E402
from corpuskit.train.launch import describe, launch  # noqa: E402
from corpuskit.train.loop import train  # noqa: E402
from corpuskit.train.optimizer import learning_rate, make_optimizer  # noqa: E402
from corpuskit.train.parallel import Group, share  # noqa: E402


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def whole(workspace: Path) -> dict[str, Any]:
    """The result of an undisturbed run, called whole."""
    return train(workspace, load_config(write_config(workspace)), run="whole")


def losses(workspace: Path, run: str) -> list[float]:
    return [row["loss"] for row in rows(workspace, run)]


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGTERM to this process while it reads the batch of `step`."""
    read = WindowOrder.read

    def read_and_signal(self: WindowOrder, positions: np.ndarray) -> np.ndarray:
        if positions[0] == (step - 1) * 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return read(self, positions)

    monkeypatch.setattr(WindowOrder, "read", read_and_signal)


def test_it_learns(workspace: Path, whole: dict[str, Any]) -> None:
    assert whole["uniform_loss"] == pytest.approx(math.log(64))
    assert losses(workspace, "whole")[0] == pytest.approx(math.log(64), abs=0.1)
    assert whole["final_train_loss"] < 2.0
    assert set(whole["heldout_loss"]) == {"ja", "en"}
    assert whole["heldout_loss_overall"] == pytest.approx(sum(whole["heldout_loss"].values()) / 2)  # as many of each
    assert whole["heldout_loss_overall"] < 2.0
    assert (whole["steps"], whole["tokens"], whole["finished"]) == (40, 40 * 7 * 32, True)
    assert whole["tokens_per_second"] > 0 and Path(whole["checkpoint"]).is_dir()


def test_metrics(workspace: Path, whole: dict[str, Any]) -> None:
    table = rows(workspace, "whole")
    assert [row["step"] for row in table] == list(range(1, 41))
    assert [row["tokens"] for row in table] == [224 * step for step in range(1, 41)]
    assert [row["step"] for row in table if "heldout_loss" in row] == [20, 40]
    assert table[-1]["heldout_loss"] == whole["heldout_loss"]
    assert all(row["grad_norm"] > 0 and row["tokens_per_second"] > 0 for row in table)
    assert "mfu" not in table[0]  # a CPU has no known peak


def test_same_run_again_is_equal_to_the_bit(workspace: Path, whole: dict[str, Any]) -> None:
    train(workspace, load_config(write_config(workspace)), run="again")
    assert losses(workspace, "again") == losses(workspace, "whole")


def test_micro_batch_does_not_matter(workspace: Path, whole: dict[str, Any]) -> None:
    train(workspace, load_config(write_config(workspace, micro_batch_sequences=7)), run="micro")
    assert losses(workspace, "micro") == pytest.approx(losses(workspace, "whole"), abs=1e-4)


def test_sigterm_saves_and_resume_is_exact(
    workspace: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(write_config(workspace))
    handler = signal.getsignal(signal.SIGTERM)  # Ray, where an earlier test of this process used it, has put its own
    with monkeypatch.context() as patch:
        stop_at(23, patch)
        result = train(workspace, config, run="stopped")
    assert (result["finished"], result["steps"], result["heldout_loss"]) == (False, 23, {})
    assert "stopped at step 23 of 40" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == handler
    result = train(workspace, config, run="stopped")
    assert "going on from step 23 of 40" in capsys.readouterr().err
    assert losses(workspace, "stopped") == losses(workspace, "whole")
    ignored = ("run", "checkpoint", "tokens_per_second")
    assert all(result[name] == whole[name] for name in result if name not in ignored)


def test_a_finished_run_says_so_and_does_nothing(
    workspace: Path, whole: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace / "train" / "whole"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    path = write_config(workspace)
    assert launch(workspace, str(path), "whole", None, 1, True) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == whole
    assert "run whole is finished" in printed.err
    assert launch(workspace, str(path), "whole", None, 2, True) == 0  # without starting a process
    assert json.loads(capsys.readouterr().out) == whole
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


def test_a_run_may_be_made_longer(workspace: Path) -> None:
    config = load_config(write_config(workspace))
    assert train(workspace, config, run="longer", steps=5)["steps"] == 5
    assert train(workspace, config, run="longer", steps=8)["steps"] == 8
    assert [row["step"] for row in rows(workspace, "longer")] == list(range(1, 9))


def test_two_checkpoints_are_kept_and_unfinished_ones_removed(workspace: Path, whole: dict[str, Any]) -> None:
    checkpoints = workspace / "train" / "whole" / "checkpoints"
    assert sorted(p.name for p in checkpoints.iterdir()) == ["step-00000030", "step-00000040"]
    manifest = json.loads((checkpoints / "step-00000040" / "COMPLETE.json").read_text())
    assert (manifest["step"], manifest["next_window"], manifest["vocab_size"]) == (40, 280, 64)
    assert manifest["order_fingerprint"] == WindowOrder.open(workspace, 32).fingerprint

    config = load_config(write_config(workspace))
    train(workspace, config, run="torn", steps=20)
    torn = workspace / "train" / "torn"
    (torn / "checkpoints" / "step-00000020" / "COMPLETE.json").unlink()  # killed between rename and marker
    (torn / "checkpoints" / ".tmp-step-00000030").mkdir()  # killed while writing
    with open(torn / "metrics.jsonl", "a") as file:
        file.write('{"step": 21, "lo')  # killed within a row
    train(workspace, config, run="torn", steps=20)
    assert [row["step"] for row in rows(workspace, "torn")] == list(range(1, 21))
    assert sorted(p.name for p in (torn / "checkpoints").iterdir()) == ["step-00000010", "step-00000020"]


def test_other_data_or_shape_is_refused(workspace: Path, tmp_path: Path) -> None:
    own = make_workspace(tmp_path)
    config = load_config(write_config(tmp_path))
    train(own, config, run="main", steps=2)
    deeper = load_config(write_config(tmp_path, model_num_hidden_layers=3))
    with pytest.raises(UserError, match=r"model.num_hidden_layers was 2, is 3\. Start a new run with --run NAME"):
        train(own, deeper, run="main", steps=4)
    make_workspace(tmp_path, seed=1)
    with pytest.raises(UserError, match=r"step-00000002: .*order of windows was \w{12}, is \w{12}\. .*--run NAME"):
        train(own, config, run="main", steps=4)
    assert len(rows(own, "main")) == 2
    assert train(own, config, run="other", steps=2)["steps"] == 2


def test_resume_can_be_refused(workspace: Path, whole: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="this run is at step 40 already"):
        train(workspace, load_config(write_config(workspace)), run="whole", resume=False)


def test_a_dry_run_says_where_a_run_stands_and_ends(
    workspace: Path, whole: dict[str, Any], tree: Callable[[Path], Any]
) -> None:
    before = tree(workspace)
    config = str(write_config(workspace))
    plan = describe(workspace, config, "whole", None)
    assert (plan["first_step"], plan["last_step"]) == (40, 40)
    assert (describe(workspace, config, "other", 3)["first_step"], plan["tokens"]) == (0, whole["tokens"])
    assert [line["lang"] for line in plan["mixture"]] == sorted(whole["heldout_loss"])
    with pytest.raises(UserError, match="--steps"):
        describe(workspace, config, "other", 10**6)
    assert tree(workspace) == before


def test_the_mixture_bounds_the_steps(workspace: Path, tmp_path: Path) -> None:
    small = make_workspace(tmp_path, documents=60)
    held = WindowOrder.open(small, 32).num_windows // 7
    assert 0 < held < 40
    config = load_config(write_config(tmp_path))
    with pytest.raises(UserError, match=rf"--steps {held + 1}: .* enough for {held} steps of 7"):
        train(small, config, run="main", steps=held + 1)
    assert not (small / "train").exists()
    assert train(small, config, run="main")["steps"] == held
    with pytest.raises(UserError, match="enough for 0 steps"):
        train(small, load_config(write_config(tmp_path, global_batch_sequences=5000)), run="big")
    for name in ("../up", "", ".hidden", "a/b"):
        with pytest.raises(UserError, match="--run"):
            train(small, config, run=name)


def test_a_run_is_trained_by_one_at_a_time(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "LOCK_SECONDS", 0.0)
    with (
        runs.lock_run(workspace / "train" / "busy"),
        pytest.raises(UserError, match="another process trains this run"),
    ):
        train(workspace, load_config(write_config(workspace)), run="busy")


def test_nonsense_weights_are_never_saved(workspace: Path) -> None:
    config = load_config(write_config(workspace, learning_rate=1e30, warmup_steps=0))
    with pytest.raises(UserError, match="Lower learning_rate"):
        train(workspace, config, run="exploded")
    assert runs.newest_checkpoint(workspace / "train" / "exploded") is None


@pytest.mark.parametrize("count", [1, 7, 8])
def test_the_global_batch_is_the_same_for_every_world(count: int) -> None:
    for world in range(1, 10):
        parts = [share(count, Group(rank, world, torch.device("cpu"), None)) for rank in range(world)]
        assert len({len(index) for index, _ in parts}) == 1
        assert sorted(np.concatenate([index[real] for index, real in parts])) == list(range(count))
        assert all(index.max() < count for index, _ in parts)


def test_schedule(workspace: Path) -> None:
    config = load_config(write_config(workspace, learning_rate=1.0, warmup_steps=10))
    rates = [learning_rate(step, 100, config) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[54] == pytest.approx(0.55)  # halfway between 1 and 0.1
    assert rates[-1] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rate(1, 5, config) > 0.9  # a run of five steps has no time to warm up


def test_only_matrices_are_decayed(workspace: Path) -> None:
    from corpuskit.train.model import Llama

    config = load_config(write_config(workspace))
    decayed, plain = make_optimizer(Llama(config.model, 64), config).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2} and {p.ndim for p in plain["params"]} == {1}


def test_without_torch_the_error_names_the_extra(workspace: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'torch' else find(name, *a)\n"
        "import runpy; sys.argv = ['corpuskit.train', '--workspace', 'nowhere']\n"
        "runpy.run_module('corpuskit.train', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: train: PyTorch is not installed; pip install 'corpuskit[train]'\n"
