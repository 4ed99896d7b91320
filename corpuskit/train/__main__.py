"""`python -m corpuskit.train`, as in `torchrun --standalone --nproc-per-node 2 -m corpuskit.train --config tiny`.

Exit codes: 0 done (or saved and left after SIGTERM), 1 something failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from corpuskit.config import UserError
from corpuskit.train.launch import launch


def main() -> int:
    """Parse the command line and train in this process."""
    parser = argparse.ArgumentParser(prog="python -m corpuskit.train", description="Train a model on a workspace.")
    parser.add_argument("--workspace", type=Path, default=Path("workspace"), help="holds the bins and the mixture")
    parser.add_argument("--config", default="tiny", help="tiny, 25m, 124m, 350m, 1b, or a YAML file")
    # torchrun on Python 3.11 takes a --run among its script's options for its own --run-path, hence the second name
    parser.add_argument("--run", "--run-name", default="default", help="name of the run (under torchrun: --run-name)")
    parser.add_argument("--steps", type=int, help="where the run ends; by default what the configuration says")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    arguments = parser.parse_args()
    workspace, config, run = arguments.workspace, arguments.config, arguments.run
    try:
        return launch(workspace, config, run, arguments.steps, processes=1, json=arguments.json)
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # every process finds the same mistake; one line is enough
            print(f"error: {error}", file=sys.stderr, flush=True)
        if "WORLD_SIZE" in os.environ:
            sys.stdout.flush()
            os._exit(2)  # gloo's threads may abort an interpreter that shuts down while others still talk
        return 2


if __name__ == "__main__":
    sys.exit(main())
