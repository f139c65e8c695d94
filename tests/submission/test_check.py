"""`dfdc check`: what it finds in programs and notebooks, where, and what it says about Kaggle; nothing is executed."""

import json
import textwrap

import pytest
from msgspec import structs

from dfdc_kit import challenge, profiles
from dfdc_kit.submission.check import Level, OnKaggle, check_code
from dfdc_kit.submission.code import read_code_submission

COMPETITION = "/kaggle/input/deepfake-detection-challenge"
GOOD = f"""
import pandas as pd
d = pd.read_csv("{COMPETITION}/sample_submission.csv")
d["label"] = 0.5
d.to_csv("submission.csv", index=False)
"""
FOUND = {  # name -> (program, [(code, line)])
    "nothing wrong": (GOOD, []),
    "syntax error": ("x = 1\nif x\n    pass\n", [("syntax-error", 2)]),
    "in the hosted image": (
        "import no_such_thing\nimport tensorforce\n",
        [("import-own-file", 1), ("import-hosted-image", 2)],
    ),
    "needs a wheel": ("import facenet_pytorch\n", [("import-needs-wheel", 1)]),
    "optional import": ("try:\n    import no_such_thing\nexcept ImportError:\n    pass\n", []),
    "not hosted": ("import msgspec\n", [("import-not-hosted", 1)]),
    "not attached": ("w = '../input/weights-of-mine/a.pth'\n", [("input-not-attached", 1)]),
    "not attached, in parts": (
        "import os\nroot = '/kaggle/input'\nw = os.path.join(root, 'weights-of-mine', 'a.pth')\n",
        [("input-not-attached", 3)],
    ),
    "not attached, 2026": ("w = '/kaggle/input/datasets/me/weights/a.pth'\n", [("input-not-attached", 1)]),
    "competition, 2026": ("w = '/kaggle/input/competitions/deepfake-detection-challenge/test_videos'\n", []),
    "no such folder": (f"w = '{COMPETITION}/test_video/a.mp4'\n", [("path-missing", 1)]),
    "listing of the input": ("import os\nprint(os.listdir('../input'))\n", []),
    "write into the input": (f"open('{COMPETITION}/test_videos/x', 'w').write('x')\n", [("write-to-input", 1)]),
    "write into the system": ("import os\nos.makedirs('/data/frames')\n", [("write-outside", 2)]),
    "write to scratch": ("import os\nos.makedirs('/kaggle/temp/x'); open('/tmp/x', 'w'); open('y.txt', 'w')\n", []),
    "another name": (
        GOOD.replace("submission.csv", "submissions.csv", 2).replace("sample_submissions", "sample_submission"),
        [("csv-name", 5)],
    ),
    "another folder": (GOOD.replace('"submission', '"output/submission'), [("csv-name", 5)]),
    "another case": (GOOD.replace('"submission.csv', '"Submission.CSV'), [("csv-name", 5)]),
    "absolute name": (GOOD.replace('"submission', '"/kaggle/working/submission'), []),
    "index": (GOOD.replace(", index=False", ""), [("csv-index", 5)]),
    "index of names": (
        "import pandas as pd\nd = pd.DataFrame().set_index('filename')\nd.to_csv('submission.csv')\n",
        [],
    ),
    "index of names, read": (
        f"import pandas as pd\nd = pd.read_csv('{COMPETITION}/sample_submission.csv', index_col='filename')\n"
        "d['label'] = 0.5\nd.to_csv('submission.csv')\n",
        [],
    ),
    "index of names, named later": (
        "import pandas as pd\nd = pd.DataFrame({'label': [0.5]}, ['a.mp4'])\nd.index.name = 'filename'\n"
        "d.to_csv('submission.csv')\n",
        [],
    ),
    "of Colab": ("from google.colab import drive\n", [("import-own-file", 1)]),
    "wheel of a data set that is not attached": (
        "import os\nos.system('pip install ../input/wheels-of-mine/facenet_pytorch-2.0.1-py3-none-any.whl')\n"
        "import facenet_pytorch\n",
        [("input-not-attached", 2)],
    ),
    "400 predictions": ("predictions = [0.5]\nx = predictions[:400]\nframes = x[:400]\n", [("fixed-count", 2)]),
    "names without suffix": (
        GOOD.replace('d["label"] = 0.5', 'd["filename"] = d["filename"].str.replace(".mp4", "")'),
        [("csv-names", 4)],
    ),
    "whole paths": (
        "import glob\nimport pandas as pd\nf = glob.glob('x/*.mp4')\n"
        "pd.DataFrame({'filename': f, 'label': 0.5}).to_csv('submission.csv', index=False)\n",
        [("csv-names", 4)],
    ),
    "names in upper case": (
        GOOD.replace('d["label"] = 0.5', 'd.filename = d.filename.str.replace(".mp4", ".MP4")'),
        [("csv-names", 4)],
    ),
    "no header": (GOOD.replace("index=False", "index=False, header=False"), [("csv-format", 5)]),
    "semicolons": (
        GOOD.replace("index=False", "index=False, sep=';', decimal=','"),
        [("csv-format", 5), ("csv-format", 5)],
    ),
    "compressed": (GOOD.replace("index=False", "index=False, compression='gzip'"), [("csv-format", 5)]),
    "UTF-16": (GOOD.replace("index=False", "index=False, encoding='utf-16'"), [("csv-format", 5)]),
    "other columns": (
        "import pandas as pd\nd = pd.DataFrame({'file': [], 'probability': []})\n"
        "d.to_csv('submission.csv', index=False)\n",
        [("csv-columns", 3)],
    ),
    "columns by hand": (
        "import pandas as pd\nd = pd.DataFrame([], columns=['filename', 'label'])\n"
        "d.to_csv('submission.csv', index=False)\n",
        [],
    ),
    "columns renamed": (
        "import pandas as pd\nd = pd.DataFrame({'file': []})\nd['label'] = 1\nd = d.rename(columns={})\n"
        "d.to_csv('submission.csv', index=False)\n",
        [],
    ),
    "NaN as label": (GOOD.replace("0.5", "float('nan')"), [("csv-labels", 4)]),
    "NaN as one label": (
        GOOD.replace('d["label"] = 0.5', 'd["label"] = 0.5; d.loc[0, "label"] = None'),
        [("csv-labels", 4)],
    ),
    "columns set": (GOOD.replace("d.to", "d.columns = ['file', 'fake']\nd.to"), [("csv-columns", 6)]),
    "negative label": (GOOD.replace("0.5", "-1"), [("csv-labels", 4)]),
    "truth value as label": (GOOD.replace("0.5", "True"), [("csv-labels", 4)]),
    "path with dots": (GOOD.replace('"submission', '"/kaggle/working/../working/submission'), []),
    "scratch folder": (GOOD.replace('"submission', '"/kaggle/temp/submission'), [("csv-name", 5)]),
    "asserted 4000": ("import os\nassert len(os.listdir('x')) == 4000\n", [("fixed-count", 2)]),
    "asserted 400": ("import os\nassert len(os.listdir('x')) == 400\n", [("fixed-count", 2)]),
    "stays in the input": (f"import os\nos.chdir('{COMPETITION}')\n", [("write-to-input", 2)]),
    "comes back": (f"import os\nos.chdir('{COMPETITION}')\nos.chdir('/kaggle/working')\n", []),
    "path of Windows": ("import os\nos.listdir('D:\\\\dfdc\\\\test')\n", [("other-machine", 2)]),
    "path of Colab": ("w = '/content/drive/My Drive/w.pth'\n", [("other-machine", 1)]),
    "required argument": (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--weights', required=True)\n",
        [("arguments-missing", 3)],
    ),
    "pretrained, by name": ("m = InceptionResnetV1(pretrained='vggface2')\n", [("internet", 1)]),
    "pretrained, from a cache": (
        "import os\nos.system('cp a.pt /root/.cache/torch/checkpoints/')\n"
        "m = InceptionResnetV1(pretrained='vggface2')\n",
        [],
    ),
    "labels as words": (GOOD.replace("0.5", "'FAKE'"), [("csv-labels", 4)]),
    "sample values left": (GOOD.replace('d["label"] = 0.5', ""), [("sample-values", 5)]),
    "requests": ("import requests\nrequests.get('https://example.org')\n", [("internet", 2)]),
    "urllib": (
        "import urllib.request\nurllib.request.urlretrieve('https://example.org', 'w.pth')\n",
        [("internet", 2)],
    ),
    "pip from the index": ("import os\nos.system('pip install facenet-pytorch')\n", [("internet", 2)]),
    "pip in a list": (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'dlib'])\n",
        [("internet", 2)],
    ),
    "pip from a file": ("import os\nos.system('pip install wheels/dlib-1.whl')\n", []),
    "git": ("import os\nos.system('git clone https://example.org/x')\n", [("internet", 2)]),
    "pretrained": ("m = torchvision.models.resnet18(pretrained=True)\n", [("internet", 1)]),
    "pretrained, no": ("m = torch.load('a.pth', map_location='cpu')\n", []),
    "cuda": ("x = torch.zeros(3).cuda()\n", [("cuda", 1)]),
    "cuda device": ("d = torch.device('cuda:0')\n", [("cuda", 1)]),
    "cuda, asked": ("d = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\nd.cuda()\n", []),
    "400 rows": ("p = [0.5] * 400\n", [("fixed-count", 1)]),
    "400 zeros": ("import numpy as np\np = np.zeros(400)\n", [("fixed-count", 2)]),
    "400 asked": ("n = []\nif len(n) == 400:\n    pass\n", [("fixed-count", 2)]),
    "another 400": ("size = 400\nimport cv2\ncv2.resize(0, (400, 400))\n", []),
    "head": (GOOD + "d = d.head(10)\n", [("head", 6)]),
    "head, shown": (GOOD + "d.head(10)\nprint(d.head(3))\n", []),
    "training labels": (f"m = '{COMPETITION}/train_sample_videos/metadata.json'\n", [("training-labels", 1)]),
    "np.float": ("import numpy as np\nx = np.zeros(3).astype(np.float)\n", [("removed-function", 2)]),
    "np.float32": ("import numpy as np\nx = np.zeros(3).astype(np.float32)\n", []),
    "DataFrame.append": (
        "import pandas as pd\ns = pd.DataFrame()\ns = s.append({'a': 1}, ignore_index=True)\n",
        [("removed-function", 3)],
    ),
    "list.append": ("a = []\na.append(1)\n", []),
    "program": ("import os\nos.system('unrar x a.rar')\n", [("program-missing", 2)]),
    "a question": ("x = input('name? ')\n", [("input", 1)]),
}


def without_csv_missing(found):
    return structs.replace(found, findings=[one for one in found.findings if one.code != "csv-missing"])


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Check one program; no program of the system is found. all_of_it: with csv-missing, which most have."""
    monkeypatch.setenv("PATH", "")

    def call(source, name="program.py", profile="kaggle-2020-gpu", *, all_of_it=False, **options):
        path = tmp_path / name
        path.write_text(source)
        submission = read_code_submission(path)
        found = check_code(submission, challenge.load(), profiles.load(profile), **{"gpu_here": False, **options})
        return found if all_of_it else without_csv_missing(found)

    return call


@pytest.mark.parametrize("case", FOUND)
def test_check_reports_code_and_line(case, check):
    source, expected = FOUND[case]
    assert sorted((one.code, one.line) for one in check(source).findings) == sorted(expected)


def test_every_finding_names_place_reason_fix_and_what_kaggle_does(check):
    for source, expected in FOUND.values():
        for finding in check(source).findings:
            assert finding.where.startswith("program.py:")
            assert finding.reason.endswith(".")
            assert finding.fix
            assert finding.on_kaggle in OnKaggle
            assert expected


@pytest.mark.parametrize(
    ("case", "on_kaggle"),
    [
        ("needs a wheel", OnKaggle.FAILS),
        ("index", OnKaggle.FAILS),
        ("np.float", OnKaggle.WORKS),
        ("sample values left", OnKaggle.SCORES_BADLY),
        ("not attached", OnKaggle.DEPENDS),
    ],
)
def test_check_says_whether_kaggle_would_mind(case, on_kaggle, check):
    assert [one.on_kaggle for one in check(FOUND[case][0]).findings] == [on_kaggle]


def test_a_removed_function_fails_on_kaggle_where_its_image_is_newer(check):
    (finding,) = check(FOUND["DataFrame.append"][0], profile="kaggle-today-gpu").findings
    assert finding.on_kaggle is OnKaggle.FAILS


def test_cuda_is_no_finding_where_there_is_a_gpu(check):
    assert check(FOUND["cuda"][0], gpu_here=True).findings == []


def notebook(*cells: str) -> str:
    code = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": [cell]}
        for cell in cells
    ]
    words = {"cell_type": "markdown", "metadata": {}, "source": ["# import no_such_thing"]}
    return json.dumps({"cells": [words, *code], "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


def test_findings_in_a_notebook_name_cell_and_line(check):
    found = check(
        notebook(
            "%matplotlib inline\nimport numpy as np\n!ls ../input",
            "%%time\nx = np.zeros(3)\ny = x.astype(np.float)",
            "%%bash\nmkdir -p /tmp/x\nwget https://example.org/a.pth",
            "!pip install ../input/my-wheels/a.whl\nfiles = !ls\nx?",
        ),
        "book.ipynb",
    )
    assert [(one.code, one.where) for one in found.findings] == [
        ("removed-function", "book.ipynb, cell 2, line 3"),
        ("internet", "book.ipynb, cell 3, line 3"),
        ("input-not-attached", "book.ipynb, cell 4, line 1"),
    ]


def test_a_notebook_saved_as_a_program_is_read_without_its_magics(check):
    found = check("# In[1]:\n%matplotlib inline\n!pip install dlib\nx = '''\n! not a command\n'''\nif x:\n    !ls\n")
    assert [(one.code, one.line) for one in found.findings] == [("internet", 3)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("!pip install dlib \\\n    --quiet\nx = 1\n", [("internet", 1)]),
        ("%time x = input('a')\n", [("input", 1)]),
        ("pip install dlib\nls -l\n", [("internet", 1)]),
        ("%%HTML\n<b>not Python</b>", []),
        ("%%writefile util.py\nimport no_such_thing\n", [("import-own-file", 2)]),
        ("%%writefile util.py\nx = 1\n", []),
        ("import argparse\nargparse.ArgumentParser().parse_args()\n", [("notebook-arguments", 2)]),
    ],
)
def test_lines_of_ipython_are_understood(source, found, check):
    findings = check(notebook(source, "import pandas\n!touch submission.csv\nimport util"), "book.ipynb").findings
    expected = found if "writefile" in source else [*found, ("import-own-file", 3)]  # util
    assert [(one.code, one.line) for one in findings] == expected


def test_notebook_of_another_language_is_reported_and_works_on_kaggle(check):
    text = json.loads(notebook("library(tidyverse)"))
    text["metadata"] = {"kernelspec": {"name": "ir", "display_name": "R"}}
    (finding,) = check(json.dumps(text), "book.ipynb").findings
    assert (finding.code, finding.on_kaggle) == ("other-language", OnKaggle.WORKS)


def test_exported_cell_magics_are_read_as_cells(check):
    source = "x = 1\nget_ipython().run_cell_magic('time', '', \"import no_such_thing\\nx = 2\")\n"
    assert [(one.code, one.line) for one in check(source).findings] == [("import-own-file", 2)]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_source_that_is_not_utf_8_is_an_error(encoding, check, tmp_path):
    check(GOOD)
    (tmp_path / "program.py").write_bytes(f"# café\n{GOOD}".encode(encoding))
    submission = read_code_submission(tmp_path / "program.py")
    (finding,) = check_code(submission, challenge.load(), profiles.load(), gpu_here=False).findings
    assert (finding.code, finding.fix) == ("syntax-error", "Save the file as UTF-8.")


@pytest.mark.parametrize(("source", "missing"), [("x = 1\n", True), ("open(path(), 'w')\n", False)])
def test_program_that_names_no_submission_file_gets_a_warning(source, missing, check):
    assert [one.code for one in check(source, all_of_it=True).findings] == ["csv-missing"] * missing


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("open('config.yaml')", ["own-file"]),
        ("import sys\nsys.path.insert(0, './src')", ["own-file"]),
        ("open('new.txt', 'w')", []),
        ("import os\nopen(os.path.join(os.path.dirname(__file__), 'config.yaml'))", []),
    ],
)
def test_own_files_are_not_in_the_current_folder(source, found, tmp_path):
    for name, text in {"main.py": f"{source}\n{GOOD}", "config.yaml": "", "src/a.py": ""}.items():
        (tmp_path / "sub" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sub" / name).write_text(text)
    findings = check_code(read_code_submission(tmp_path / "sub"), challenge.load(), profiles.load(), gpu_here=True)
    assert [one.code for one in findings.findings] == found


def test_modules_of_the_folder_are_followed_and_are_no_missing_packages(tmp_path):
    files = {
        "main.py": "c = 'submission.csv'\nimport helper\nfrom pack.inner import f\nfrom deep_module import g\n",
        "helper.py": "import no_such_thing\n",
        "pack/__init__.py": "",
        "pack/inner.py": "from . import other\n",
        "pack/other.py": "x = '../input/hidden-away/a'\n",
        "code/deep_module.py": "",
        "train.py": "import never_imported\n",
    }
    for name, text in files.items():
        (tmp_path / "sub" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sub" / name).write_text(text)
    found = check_code(read_code_submission(tmp_path / "sub"), challenge.load(), profiles.load(), gpu_here=True)
    assert [(one.code, one.file) for one in found.findings] == [
        ("import-own-file", "helper.py"),
        ("input-not-attached", "pack/other.py"),
    ]
    assert "train.py" not in found.files


@pytest.mark.parametrize(("late", "missing"), [("", []), ("import fast\n", ["import-own-file"])])
def test_imports_of_an_own_module_that_may_fail_may_fail_as_well(late, missing, tmp_path):
    (tmp_path / "main.py").write_text(f"try:\n    import fast\nexcept ImportError:\n    fast = None\n{late}{GOOD}")
    (tmp_path / "fast.py").write_text("import no_such_thing\n")
    found = check_code(read_code_submission(tmp_path), challenge.load(), profiles.load(), gpu_here=True)
    assert [one.code for one in found.findings] == missing


def test_attached_inputs_provide_paths_and_modules(tmp_path):
    (tmp_path / "weights" / "blazeface").mkdir(parents=True)
    (tmp_path / "weights" / "blazeface" / "blazeface.py").write_text("")
    (tmp_path / "main.py").write_text(
        "import sys\nsys.path.insert(0, '/kaggle/input/weights/blazeface')\nimport blazeface\n"
        "w = '../input/weights/a.pth'\nopen('submission.csv', 'w')\n"
    )
    alone = read_code_submission(tmp_path / "main.py")
    codes = [one.code for one in check_code(alone, challenge.load(), profiles.load(), gpu_here=True).findings]
    assert codes == ["import-own-file", "input-not-attached"]
    attached = read_code_submission(tmp_path / "main.py", {"weights": tmp_path / "weights"})
    assert check_code(attached, challenge.load(), profiles.load(), gpu_here=True).findings == []


def test_a_missing_module_names_the_data_set_that_the_program_adds_to_its_path(check):
    found = check("import sys\nsys.path.append('../input/blazeface-pytorch')\nfrom blazeface import BlazeFace\n")
    (missing,) = [one for one in found.findings if one.code == "import-own-file"]
    assert "/kaggle/input/blazeface-pytorch" in missing.reason


def test_the_command_prints_findings_and_exits_with_1_for_an_error(dfdc, tmp_path):
    (tmp_path / "a.py").write_text(FOUND["index"][0])
    done = dfdc("check", "a.py")
    assert done.returncode == 1
    assert "error csv-index a.py:5" in done.stdout
    assert "fix: Add index=False." in done.stdout
    assert "Kaggle: fails" in done.stdout
    document = json.loads(dfdc("check", "a.py", "--json").stdout)
    assert [one["code"] for one in document["findings"]] == ["csv-index"]
    assert {"level", "file", "cell", "line", "reason", "fix", "on_kaggle"} <= set(document["findings"][0])


def test_bundled_baselines_have_no_errors_or_warnings(root):
    for folder in sorted((root / "baselines").glob("*/submission.toml")):
        found = check_code(read_code_submission(folder.parent), challenge.load(), profiles.load(), gpu_here=False)
        assert [one for one in found.findings if one.level is not Level.NOTE and "import" not in one.code] == []


def test_an_import_inside_a_function_is_a_warning_since_a_run_may_never_reach_it(check):
    (finding,) = check("def f():\n    import no_such_thing\n").findings
    assert (finding.level, finding.line) == (Level.WARNING, 2)


def test_nothing_of_the_submission_is_executed(check, tmp_path):
    trap = f"open({str(tmp_path / 'trap')!r}, 'w').write('x')\n"
    check(trap + textwrap.dedent(GOOD))
    assert not (tmp_path / "trap").exists()


def test_attached_utility_script_that_is_not_here_is_to_be_downloaded(code_submission, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = code_submission("import face_tools\n")
    (folder / "kernel-metadata.json").write_text('{"kernel_sources": ["ada/face-tools"]}')
    findings = check_code(read_code_submission(folder), challenge.load(), profiles.load()).findings
    found = next(one for one in findings if one.code == "import-own-file")
    assert (found.line, found.on_kaggle) == (1, OnKaggle.WORKS)
    assert "dfdc download inputs" in found.fix
