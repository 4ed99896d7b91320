"""A compiled kernel is kept, and not used any more once anything that was compiled in has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """
from corpuskit.text.kernel import kernel
from constants import STEP

@kernel
def step(n):
    return n + STEP
"""
RUN = """
import kernels
print(kernels.step(1), sum(kernels.step.stats.cache_hits.values()))
"""


@pytest.mark.parametrize("given_folder", [False, True])
def test_a_change_in_another_module_of_the_room_counts(tmp_path: Path, given_folder: bool) -> None:
    room, cache = tmp_path / "room", tmp_path / "cache"
    room.mkdir()
    (room / "kernels.py").write_text(KERNEL)
    env = os.environ | {"PYTHONPATH": str(room)} | ({"NUMBA_CACHE_DIR": str(cache)} if given_folder else {})

    def run(step: int) -> list[str]:
        (room / "constants.py").write_text(f"STEP = {step}\n")
        done = subprocess.run([sys.executable, "-B", "-c", RUN], env=env, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert run(1) == ["2", "0"]
    assert run(1) == ["2", "1"]  # what was compiled is used again
    assert run(2) == ["3", "0"]
    assert run(2) == ["3", "1"]
    assert cache.exists() == given_folder
