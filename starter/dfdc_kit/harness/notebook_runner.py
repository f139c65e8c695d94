"""Runs a notebook as Kaggle does: every cell in order, nobody to answer, the first error ends it.

    python -I notebook_runner.py NOTEBOOK.ipynb

The harness puts a copy of this file beside the submission and starts it in the sandbox; it imports nothing of the kit.
"""

import os
import re
import sys
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # colours of a terminal


class Streaming(NotebookClient):
    """A client that passes on what the cells print, while they run."""

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
    """Execute the notebook; 1, with the failing cell and its traceback printed, if one fails."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    os.environ["PYTHONPATH"] = os.path.dirname(path)  # noqa: PTH120  # the kernel's: it imports what lies beside it
    ipc = Config({"KernelManager": {"transport": "ipc"}})  # a run has no network
    client = Streaming(notebook, timeout=None, kernel_name="python3", config=ipc)
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"\ncode cell {_failed(notebook)} failed\n{ESCAPES.sub('', error.traceback)}", flush=True)
        return 1
    except DeadKernelError:
        print("\nthe kernel died: killed, out of memory, or a crash in native code", flush=True)
        return 1
    return 0


def _failed(notebook: Any) -> int:
    """The number, counted from 1 over the code cells, of the cell that holds an error."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    failed = (number for number, cell in enumerate(code, 1) if any(o.output_type == "error" for o in cell.outputs))
    return next(failed, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
