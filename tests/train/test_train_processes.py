"""Two real processes under torchrun (gloo on the CPU): the same losses as one, through signals, kills and restarts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from train_toy import environment, make_workspace, rows, start_launch, write_config

from corpuskit.train.config import load_config
from corpuskit.train.loop import train

STEPS = 150


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("toy"), documents=1200)


@pytest.fixture(scope="module")
def config(workspace: Path) -> Path:
    """Small steps, so that rounding stays rounding over all of them."""
    return write_config(workspace, steps=STEPS, learning_rate=1e-3, eval_every=50, checkpoint_every=25)


@pytest.fixture(scope="module")
def losses(workspace: Path, config: Path) -> list[float]:
    """Those of an undisturbed run of one process."""
    train(workspace, load_config(config), run="whole")
    return [row["loss"] for row in rows(workspace, "whole")]


def wait_for_step(workspace: Path, run: str, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not any(row["step"] >= step for row in rows(workspace, run)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_whole(workspace: Path, run: str, losses: list[float]) -> None:
    table = rows(workspace, run)
    assert [row["step"] for row in table] == list(range(1, STEPS + 1))
    assert [row["loss"] for row in table] == pytest.approx(losses, abs=1e-5)


def test_torchrun_on_two_processes_gives_the_losses_of_one(workspace: Path, config: Path, losses: list[float]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "corpuskit.train", "--workspace", str(workspace), "--config", str(config)]
    command += ["--run-name", "two", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert_whole(workspace, "two", losses)
    result = json.loads(done.stdout)
    one = json.loads((workspace / "train" / "whole" / "result.json").read_text())
    assert result["heldout_loss"] == pytest.approx(one["heldout_loss"], abs=1e-5)
    assert result["num_parameters"] == one["num_parameters"]


def test_sigterm_saves_two_processes_and_one_goes_on(workspace: Path, config: Path, losses: list[float]) -> None:
    process = start_launch(workspace, config, "term", 2)
    wait_for_step(workspace, "term", 30, process)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    result = json.loads(stdout)
    assert not result["finished"] and 30 <= result["steps"] < STEPS
    assert result["steps"] == len(rows(workspace, "term"))
    process = start_launch(workspace, config, "term", 1)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert f"going on from step {result['steps']} of {STEPS}" in stderr
    assert_whole(workspace, "term", losses)


def test_sigkill_of_a_worker_fails_and_the_same_command_goes_on(
    workspace: Path, config: Path, losses: list[float]
) -> None:
    process = start_launch(workspace, config, "killed", 2)
    wait_for_step(workspace, "killed", 60, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode == 1
    assert len(rows(workspace, "killed")) < STEPS
    process = start_launch(workspace, config, "killed", 2)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert "going on from step" in stderr
    assert_whole(workspace, "killed", losses)


def test_sigkill_of_the_launcher_leaves_no_orphans_at_work(workspace: Path, config: Path, losses: list[float]) -> None:
    process = start_launch(workspace, config, "orphans", 2)
    wait_for_step(workspace, "orphans", 40, process)
    process.kill()
    process.wait()
    process = start_launch(workspace, config, "orphans", 2)  # at once: it waits for the orphans to save and leave
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert "going on from step" in stderr
    assert_whole(workspace, "orphans", losses)


def test_a_mistake_is_one_line_and_exit_code_2(workspace: Path, config: Path, losses: list[float]) -> None:
    deeper = write_config(workspace, model_num_hidden_layers=3)
    process = start_launch(workspace, deeper, "whole", 2)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 2
    assert stderr.startswith("error: ") and stderr.count("\n") == 1
    assert "model.num_hidden_layers was 2, is 3" in stderr
