"""Runs a notebook as Kaggle does: all cells in order, without a user to answer, until the first error.

    python -I notebook_runner.py NOTEBOOK.ipynb

The harness copies this file next to the submission and starts it in the sandbox; it imports nothing of dfdc_kit.
"""

import os
import re
import sys
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # terminal colours


class StreamingClient(NotebookClient):
    """Prints the output of the cells while they run."""

    def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
        """Called for each output of a cell."""
        content = msg["content"]
        if msg["msg_type"] == "stream":
            sys.stdout.write(content["text"])
        elif msg["msg_type"] in ("execute_result", "display_data") and "text/plain" in content["data"]:
            sys.stdout.write(content["data"]["text/plain"] + "\n")
        sys.stdout.flush()
        return super().output(outs, msg, display_id, cell_index)


def main(path: str) -> int:
    """Execute the notebook. Returns 0, or 1 after printing the failing cell and its traceback."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    os.environ["PYTHONPATH"] = os.path.dirname(path)  # noqa: PTH120  # the kernel imports modules next to the notebook
    ipc = Config({"KernelManager": {"transport": "ipc"}})  # a run has no network
    client = StreamingClient(notebook, timeout=None, kernel_name="python3", config=ipc)
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"\ncode cell {_failed_cell(notebook)} failed\n{ESCAPES.sub('', error.traceback)}", flush=True)
        return 1
    except DeadKernelError:
        print("\nthe kernel died: killed, out of memory, or a crash in native code", flush=True)
        return 1
    return 0


def _failed_cell(notebook: Any) -> int:
    """The number of the cell with an error, counted from 1 over the code cells."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    failed = (number for number, cell in enumerate(code, 1) if any(o.output_type == "error" for o in cell.outputs))
    return next(failed, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
