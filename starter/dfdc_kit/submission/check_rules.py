"""The rules of `dfdc check`: each yields findings about a program. To add one: a function, and its name in RULES."""

import ast
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise

from dfdc_kit.submission.check import CheckContext, CodeFinding, Level, OnKaggle, make_finding
from dfdc_kit.submission.check_files import FILE_RULES, is_mounted, shorten, slugs_in
from dfdc_kit.submission.check_output import OUTPUT_RULES
from dfdc_kit.submission.packages import (
    CATCH_IMPORT_ERROR,
    MissingModule,
    Place,
    canonical,
    distribution_of,
    explain_missing_module,
    explain_removed,
    installed_versions,
    is_installed,
)
from dfdc_kit.submission.program import UNKNOWN, Call, Where

Rule = Callable[[CheckContext], Iterator[CodeFinding]]

KERAS_MODELS = {
    "Xception",
    "VGG16",
    "VGG19",
    "ResNet50",
    "InceptionV3",
    "InceptionResNetV2",
    "MobileNet",
    "MobileNetV2",
}
LOADERS = ("load_state_dict_from_url", "download_url_to_file", "load_url", "get_file", "cached_download")
COMMAND_TOOLS = ("ffmpeg", "ffprobe", "mediainfo", "unrar", "7z", "sox", "exiftool")


def syntax(context: CheckContext) -> Iterator[CodeFinding]:
    """Source that Python cannot parse."""
    for unit in context.program.units:
        if unit.error:
            line, message = unit.error
            reason = f"Not valid Python: {message.rstrip('.')}."
            fix = (
                "Save the file as UTF-8." if re.search("UTF-16|codec can't|encoding", message) else "Correct the line."
            )
            yield make_finding("syntax-error", Level.ERROR, unit.where(line), reason, fix)


def notebooks(context: CheckContext) -> Iterator[CodeFinding]:
    """Notebooks in another language, and what only a script can do."""
    for unit in context.program.units:
        if unit.language:
            fix = "Submit it without a run here, or write it in Python."
            yield make_finding("other-language", Level.ERROR, unit.where(1), unit.language, fix, OnKaggle.WORKS)
    for call in context.program.calls:
        alone = call.method == "parse_args" and not call.node.args and not call.node.keywords
        if call.where.cell and alone and not context.arguments:
            reason = "In a notebook, sys.argv has the arguments of the Jupyter kernel: parse_args() exits with 2."
            fix = "Use parse_args([]) or parse_known_args()."
            yield make_finding("notebook-arguments", Level.ERROR, call.where, reason, fix)
        if call.method == "add_argument" and not call.where.cell and not context.arguments:
            required = call.keyword("required")
            named = context.program.text(call.node.args[0]) if call.node.args else None
            if isinstance(required, ast.Constant) and required.value is True:
                reason = f"{named} is required, and the entry point has no arguments."
                fix = f'Add them in submission.toml: entry_point = "{call.where.file} {named} ..."'
                yield make_finding("arguments-missing", Level.ERROR, call.where, reason, fix, OnKaggle.DEPENDS)


def imports(context: CheckContext) -> Iterator[CodeFinding]:
    """Modules that cannot be imported here, on the hosted machine, or on both."""
    attached = _code_folders(context)
    wheels = {canonical(path.name.split("-")[0]) for path in context.folder.glob("wheels/*") if path.is_file()}
    for text, _ in context.program.commands:  # pip install ../input/x/decord-0.3.6.whl, --find-links ../input/x decord
        if "pip install" in text and ("/" in text or "--no-index" in text):
            words = (word.rpartition("/")[2] for word in text.split())
            wheels |= {canonical(re.split(r"-\d|\.whl|\.tar|\.zip|==", word)[0]) for word in words}
    seen = set(context.program.local_modules)
    for imported in context.program.imports:
        top = imported.module.split(".")[0]
        distribution = distribution_of(top)
        if imported.optional or top in seen or distribution in wheels:
            continue
        seen.add(top)
        if any(_has_module(context, path, top) for path in context.inputs):
            continue
        absent = [path for path, folder in context.inputs.items() if folder is None and _is_script(path, top)]
        if absent and not is_installed(top):
            reason = f"{top} is the attached utility script {absent[0]}, which is not on this machine."
            fix = "Download what the submission attaches: dfdc download inputs SUBMISSION"
            yield make_finding("import-own-file", Level.ERROR, imported.where, reason, fix, OnKaggle.WORKS)
        elif not is_installed(top):
            found = explain_missing_module(imported.module, context.hosted, attached)
            yield _missing(found, imported.where, Level.WARNING if imported.late else Level.ERROR)
        elif context.hosted and not _is_hosted(context, top, distribution):
            name = top if top == distribution else f"{top} ({distribution})"
            reason = f"{name} is installed here, but not in the hosted image ({context.hosted.as_of})."
            level = Level.NOTE if distribution in context.declared else Level.WARNING
            fix = f"Put its wheel into the folder wheels/: pip download --no-deps -d wheels {distribution}"
            yield make_finding("import-not-hosted", level, imported.where, reason, fix)


def _is_script(path: str, module: str) -> bool:
    """Whether a path below /kaggle/input is, by its name, that of the utility script `module`."""
    return path.rpartition("/")[2].replace("-", "_") == module


def _missing(found: MissingModule, where: Where, level: Level) -> CodeFinding:
    on_kaggle = {
        Place.HOSTED_IMAGE: OnKaggle.WORKS,
        Place.NEEDS_WHEEL: OnKaggle.FAILS,
        Place.OWN_FILE: OnKaggle.DEPENDS,
    }[found.place]
    kaggle_only = found.place is Place.HOSTED_IMAGE
    fix = found.command or (CATCH_IMPORT_ERROR if kaggle_only else "Attach the data set: --input SLUG=FOLDER")
    return make_finding(f"import-{found.place.value}", level, where, found.sentence, fix, on_kaggle)


def _is_hosted(context: CheckContext, top: str, distribution: str) -> bool:
    assert context.hosted is not None  # noqa: S101 - the caller has looked
    family = {"opencv-python", "opencv-python-headless", "opencv-contrib-python"}
    names = family if distribution in family else {distribution, canonical(top)}
    return bool(names & set(context.hosted.packages)) or _is_standard(top)


def _is_standard(top: str) -> bool:
    import sys

    return top in sys.stdlib_module_names or top in ("IPython", "__future__")


def _code_folders(context: CheckContext) -> list[str]:
    """Folders below /kaggle/input, not mounted here, from which the program imports or installs."""
    found = []
    for call in context.program.calls:
        if call.name in ("sys.path.append", "sys.path.insert") and call.node.args:
            found.append(context.program.text(call.node.args[-1]) or "")
    found += [text for text, _ in context.program.commands if "pip install" in text or "cp " in text]
    slugs = [slug for text in found for slug in slugs_in(text)]
    return [f"/kaggle/input/{slug}" for slug in dict.fromkeys(slugs) if not is_mounted(context, slug)]


def _has_module(context: CheckContext, path: str, top: str) -> bool:
    folder = context.inputs[path]
    if folder is None:
        return False
    names = (f"{top}.py", f"{top}/__init__.py", f"{top}*.whl")
    return any(next(folder.glob(f"{below}{name}"), None) for name in names for below in ("", "*/"))


def internet(context: CheckContext) -> Iterator[CodeFinding]:
    """Downloads: the hidden rerun has no network."""
    for call in context.program.calls:
        fetch = re.search(r"^requests\.(get|post|Session)|urlopen$|urlretrieve$|^wget\.download|^gdown\.", call.name)
        if fetch:
            yield _no_internet(call.where, f"{call.name} downloads")
        elif call.name.endswith(LOADERS):
            reason = f"{call.name} downloads; the hidden rerun has no internet."
            fix = "Attach the weights as a data set and load them from there."
            yield make_finding("internet", Level.WARNING, call.where, reason, fix)
        elif not _fills_torch_cache(context):
            yield from _pretrained(context, call)
    for command, where in context.program.commands:
        if re.search(r"(?:^|[\s;&|])(?:wget|curl|git clone|gdown|kaggle datasets)\s", command):
            yield _no_internet(where, f"`{shorten(command)}` downloads")
        elif re.search(r"(?:^|[\s;&|\0])(?:apt|apt-get|conda)\s+(?:-\w+\s+)*install", command):
            yield _no_internet(where, f"`{shorten(command)}` installs from the internet")
        elif "pip install" in command or "pip3 install" in command:
            local = re.search(
                r"--no-index|--find-links|\s-f\s|/|\.whl|\.tar\.gz|\s-r\s|\{|\$|\s\.", command.partition("install")[2]
            )
            if not local:
                yield _no_internet(where, f"`{shorten(command)}` installs from the package index")


def _fills_torch_cache(context: CheckContext) -> bool:
    """Whether the program copies weights to where torch looks before it downloads them."""
    texts = [text for text, _ in (*context.program.commands, *context.program.texts)]
    return any("cache/torch" in text or "TORCH_HOME" in text for text in texts)


def _pretrained(context: CheckContext, call: Call) -> Iterator[CodeFinding]:
    """Models whose weights come from the internet, unless a cache or a file has them."""
    pretrained = call.keyword("pretrained")
    weights = call.keyword("weights")
    named = context.program.text(call.node.args[0]) if call.node.args else None
    if isinstance(pretrained, ast.Constant) and pretrained.value and pretrained.value != "False":
        what = f"{call.name}(pretrained={pretrained.value!r})"
    elif call.method in KERAS_MODELS and weights is None and context.program.uses_module("keras", "tensorflow"):
        what = f"{call.name} without weights=None"
    elif isinstance(weights, ast.Constant) and weights.value in ("imagenet", "DEFAULT"):
        what = f"{call.name}(weights={weights.value!r})"
    elif (
        call.method == "from_pretrained"
        and named
        and "/kaggle" not in named
        and ".." not in named
        and "\0" not in named
    ):
        what = f"{call.name}({named!r})"
    elif call.name == "torch.hub.load" and not call.keyword("source"):
        what = "torch.hub.load"
    else:
        return
    fix = "Attach the weights as a data set and load them from there."
    reason = f"{what} downloads weights; the hidden rerun has no internet."
    yield make_finding("internet", Level.WARNING, call.where, reason, fix)


def _no_internet(where: Where, what: str) -> CodeFinding:
    reason = f"{what}; the hidden rerun has no internet."
    return make_finding(
        "internet", Level.ERROR, where, reason, "Attach the file as a data set, or its wheel in a folder wheels/."
    )


def cuda(context: CheckContext) -> Iterator[CodeFinding]:
    """CUDA without a question whether there is any, on a machine without a GPU."""
    if context.gpu_here or context.program.uses("is_available", "device_count", "list_physical_devices"):
        return
    for call in context.program.calls:
        named = any((context.program.text(one) or "").startswith("cuda") for one in call.node.args)
        if (call.method == "cuda" and not call.name.startswith("torch.cuda")) or (
            call.method in ("to", "device") and named
        ):
            reason = "The program needs CUDA, and this machine has no NVIDIA GPU."
            fix = 'Use "cuda" if torch.cuda.is_available() else "cpu"' + (
                "." if context.gpu_wanted else "; on Kaggle, declare gpu = true in submission.toml."
            )
            on_kaggle = OnKaggle.WORKS if context.gpu_wanted else OnKaggle.DEPENDS
            yield make_finding("cuda", Level.WARNING, call.where, reason, fix, on_kaggle)
            return


def removed_functions(context: CheckContext) -> Iterator[CodeFinding]:
    """Functions that the installed libraries no longer have."""
    images = [context.hosted] if context.hosted else []
    texts = []
    for unit, node in context.program.walk(ast.Attribute):
        if ast.unparse(node.value) in ("np", "numpy"):
            texts.append((f"module 'numpy' has no attribute '{node.attr}'", unit.where(node.lineno)))
    for call in context.program.calls:
        if call.method == "append" and call.keyword("ignore_index"):
            texts.append(("'DataFrame' object has no attribute 'append'", call.where))
        if call.name == "time.clock":
            texts.append(("module 'time' has no attribute 'clock'", call.where))
    versions = installed_versions() if texts else {}
    for text, where in texts:
        if found := explain_removed(text, versions, images):
            on_kaggle = {True: OnKaggle.WORKS, False: OnKaggle.FAILS, None: OnKaggle.DEPENDS}[found.hosted_works]
            reason, _, fix = found.sentence.rpartition(" Use ")
            yield make_finding("removed-function", Level.ERROR, where, reason, f"Use {fix}", on_kaggle)


def tools(context: CheckContext) -> Iterator[CodeFinding]:
    """Programs such as ffmpeg that are not installed here, and questions to a user."""
    for command, where in context.program.commands:
        words = command.replace(UNKNOWN, " ").split()
        for before, word in pairwise(["", *words]):
            name = word.rpartition("/")[2]
            first = before in ("", "|", "&&", ";", "sudo")
            if first and name in COMMAND_TOOLS and "/" not in word and shutil.which(name) is None:
                fix = f"Install {name} here, or attach a static build."
                reason = f"{name} is not installed here."
                yield make_finding("program-missing", Level.ERROR, where, reason, fix, OnKaggle.DEPENDS)
    for call in context.program.calls:
        if call.name == "input":
            yield make_finding(
                "input", Level.ERROR, call.where, "input() waits for a user; nobody answers.", "Remove it."
            )


RULES: tuple[Rule, ...] = (
    syntax,
    notebooks,
    imports,
    *FILE_RULES,
    internet,
    cuda,
    removed_functions,
    tools,
    *OUTPUT_RULES,
)
