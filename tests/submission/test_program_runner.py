"""Notebooks, and scripts with notebook syntax, run as on Kaggle; run here without a sandbox."""

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dfdc_kit.submission import program_runner
from dfdc_kit.submission.program_runner import read_cells, split_cells, uses_notebook_syntax

EXPORTED = """#!/usr/bin/env python
# coding: utf-8

# # A heading

# In[1]:


get_ipython().system('echo from a command')
get_ipython().run_line_magic('matplotlib', 'inline')


# In[ ]:


print('from', 'Python', __file__)
"""


@pytest.fixture
def run_program(tmp_path):
    """Run a program through the runner, as the harness starts it; (exit code, output)."""

    def call(path: Path) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, program_runner.__file__, path],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    return call


@pytest.fixture
def run_cells(run_program, notebook):
    return lambda *cells: run_program(notebook(*cells))


@pytest.mark.parametrize(
    ("cells", "code", "output"),
    [
        (["!echo hello from shell", "print('hello from python')"], 0, "hello from shell\nhello from python\n"),
        (["files = !echo a; echo b", "files"], 0, "['a', 'b']\n"),
        (["%%bash\necho from bash"], 0, "from bash\n"),
        (["!exit 3", "print(_exit_code)"], 0, "3\n"),
        (["!pip --version > /dev/null"], 0, ""),
        (
            ["from IPython.display import HTML, display, clear_output\nclear_output()\ndisplay(1)\nHTML('x')"],
            0,
            "1\n<IPython.core.display.HTML object>\n",
        ),
        (["%cd -q /usr", "import os\nos.getcwd()"], 0, "'/usr'\n"),
        (["import asyncio\nawait asyncio.sleep(0)\nprint('awaited')"], 0, "awaited\n"),
        (["get_ipython().__class__.__name__"], 0, "'ZMQInteractiveShell'\n"),
        (["1 +", "print('never')"], 1, "SyntaxError"),
        (["import sys\nsys.exit()", "print('never')"], 0, ""),
        (["import sys\nsys.exit(3)", "print('never')"], 1, "code cell 1 failed\nSystemExit: 3\n"),
        (["print(1)\nexit()\nprint('rest')", "print(2)\nquit()", "print(3)"], 0, "1\n2\n3\n"),
        (["input('name? ')", "print('never')"], 1, "StdinNotImplementedError: raw_input was called"),
        (["import os\nos._exit(0)", "print('never')"], 1, "the kernel died: a cell ended the process with exit code 0"),
        (["raise KeyError('x')"], 1, "code cell 1 failed\n"),
    ],
)
def test_cells_behave_as_on_kaggle(cells, code, output, run_cells):
    seen_code, seen = run_cells(*cells)
    assert seen_code == code, seen
    assert output in seen if code else seen == output
    assert "never" not in seen.replace("print('never')", "")
    assert "\x1b" not in seen


def test_widgets_figures_and_timing_work_in_a_notebook(run_cells):
    pytest.importorskip("matplotlib")
    code, output = run_cells(
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1]); plt.show()",
        "%%time\nfrom tqdm.notebook import tqdm\nfor i in tqdm(range(3)): pass",
        "%timeit -n 3 -r 1 sum(range(10))",
    )
    assert code == 0, output
    assert "<Figure size" in output
    assert "Wall time" in output
    assert "0/3" in output
    assert "3 loops each" in output


def test_functions_of_a_notebook_reach_worker_processes(run_cells):
    code, output = run_cells(
        "def double(x): return 2 * x", "import multiprocessing as mp\nmp.Pool(2).map(double, [1, 2])"
    )
    assert (code, output) == (0, "[2, 4]\n")


def test_exit_status_tells_the_signal_when_a_notebook_is_killed(run_cells):
    code, _ = run_cells("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert code == -signal.SIGKILL


def test_notebook_leaves_nothing_in_the_working_folder(run_cells, tmp_path):
    run_cells("1")
    assert {path.name for path in tmp_path.iterdir()} == {"mine.ipynb"}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import os\nprint('!ls')\nx = 7\ny = (x\n     % 2)\n", ""),
        ("import os\n!ls\n", "line 2: !ls"),
        ("%matplotlib inline\nimport os\n", "line 1: %matplotlib inline"),
        ("import os\n\n%%bash\nls\n", "line 3: %%bash"),
        ("if True:\n    !pip install x.whl\n", "line 2: !pip install x.whl"),
        ("files = !ls\n", "line 1: files = !ls"),
        (EXPORTED, "line 9: get_ipython().system('echo from a command')"),
        ("print 'Python 2'\n", ""),
        ("def broken(:\n    pass\n", ""),
    ],
)
def test_notebook_syntax_is_found_in_scripts(source, line, tmp_path):
    (tmp_path / "main.py").write_text(source)
    assert uses_notebook_syntax(tmp_path / "main.py") == line


def test_script_is_split_at_markers_and_cell_magics():
    assert split_cells("a = 1\n# In[2]:\nb = 2\n# %%\nc = 3\n%%bash\nls\n") == [
        (1, "a = 1\n"),
        (2, "\nb = 2\n"),
        (4, "\nc = 3\n"),
        (6, "%%bash\nls\n"),
    ]


def test_exported_script_runs_through_ipython_and_the_log_says_so(run_program, tmp_path):
    script = tmp_path / "main.py"
    script.write_text(EXPORTED)
    code, output = run_program(script)
    assert code == 0, output
    assert output.splitlines() == [
        "[dfdc] main.py has notebook syntax, so it is run through IPython "
        "(line 9: get_ipython().system('echo from a command'))",
        "from a command",
        f"from Python {script}",
    ]


@pytest.mark.parametrize(
    "notebook",
    [
        {"cells": [{"cell_type": "code", "source": ["a = 1\n", "b = 2"]}, {"cell_type": "markdown", "source": "#"}]},
        {"worksheets": [{"cells": [{"cell_type": "code", "input": "a = 1\nb = 2"}]}], "nbformat": 3},
        {
            "cells": [{"cell_type": "code", "source": "a = 1\nb = 2"}],
            "metadata": {"kernelspec": {"name": "conda-env-dfd-py", "display_name": "dfd", "language": "python"}},
        },
    ],
    ids=["format 4", "format 3", "kernel of another environment"],
)
def test_cells_are_read_from_every_kind_of_python_notebook(notebook, tmp_path):
    (tmp_path / "n.ipynb").write_text(json.dumps(notebook))
    assert read_cells(tmp_path / "n.ipynb") == ["a = 1\nb = 2"]


def test_runner_has_the_syntax_of_the_python_of_2020():
    """Image of 2020-03: Python 3.6. Generic types in annotations are strings, because that Python evaluates them."""
    tree = ast.parse(Path(program_runner.__file__).read_text(), feature_version=(3, 6))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    annotations = [part for node in functions for part in (node.returns, *(a.annotation for a in node.args.args))]
    assert not [ast.unparse(part) for part in annotations if isinstance(part, ast.Subscript | ast.BinOp)]
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"asyncio.run", "os.waitstatus_to_exitcode", "itertools.pairwise"}
