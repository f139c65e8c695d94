"""Rules of `dfdc check` about paths: input that nothing provides, files written or looked for in the wrong folder."""

import ast
import re
from collections.abc import Iterator

from dfdc_kit.submission.check import CheckContext, CodeFinding, Level, OnKaggle, make_finding
from dfdc_kit.submission.external_data import KIND_FOLDERS
from dfdc_kit.submission.program import INPUT, UNKNOWN, Call

WRITABLE = ("/kaggle/working", "/kaggle/temp", "/kaggle/tmp", "/tmp", "/root", "/home", "/dev/", "/var/tmp", "~")  # noqa: S108
WRITERS = {  # method -> position of the path
    **dict.fromkeys(("to_csv", "to_parquet", "to_pickle", "to_json", "to_feather", "savefig", "imsave", "makedirs"), 0),
    **dict.fromkeys(("mkdir", "imwrite", "save", "savez", "savetxt", "write_image", "urlretrieve_to"), 0),
    **dict.fromkeys(("copy", "copyfile", "copytree", "move", "urlretrieve"), 1),
}
READERS = {"open", "load", "read_csv", "read_json", "load_weights", "load_model", "imread", "CascadeClassifier"}
OTHER_MACHINE = re.compile(r"(?:[A-Za-z]:[\\/]|/content/|/Users/|/home/\w+/|/mnt/|/media/|/storage/)[^\n]*")


def slugs_in(text: str) -> Iterator[str]:
    """The data sets that paths in a text name: `../input/x/y` -> x; `/kaggle/input/datasets/o/x/y` -> datasets/o/x."""
    for rest in re.findall(r"(?:kaggle|\.\.)/input/([\w./-]*)", text):
        parts = [part for part in rest.split("/") if part]
        if parts[:1] == ["competitions"]:
            parts = parts[1:]
        elif parts[:1] and parts[0] in KIND_FOLDERS:
            parts = ["/".join(parts[:3])]
        if parts:
            yield parts[0]


def is_mounted(context: CheckContext, slug: str) -> bool:
    """Whether a folder below /kaggle/input is the competition or an attached input."""
    return slug == context.challenge.slug or any(path == slug or path.startswith(f"{slug}/") for path in context.inputs)


def paths(context: CheckContext) -> Iterator[CodeFinding]:
    """Paths below /kaggle/input that neither the competition nor an attached data set provides."""
    layout = context.challenge.data
    known = {layout.test_videos, layout.sample_submission, layout.train_videos}
    seen = set()
    for text, where in [*context.program.texts, *context.program.commands]:
        for slug in slugs_in(text):
            before, _, after = text.partition(slug)
            if UNKNOWN in before or after.startswith(UNKNOWN) or text.rstrip("/").endswith(("input", "..")):
                continue
            if slug == context.challenge.slug:
                inside = text.partition(f"{slug}/")[2].split("/")[0]
                if inside and not any(sign in inside for sign in f"*?{UNKNOWN}{{") and inside not in known:
                    reason = f"The competition has no {inside}; it has {', '.join(sorted(known))}."
                    yield make_finding("path-missing", Level.WARNING, where, reason, "Correct the path.")
            elif not is_mounted(context, slug) and slug not in seen and not re.search(r"[*?{]", slug):
                seen.add(slug)
                reason = f"/kaggle/input/{slug} is not attached."
                fix = (
                    f"If it is a data set of yours on Kaggle: --input {slug}=FOLDER, or [[inputs]] in submission.toml."
                )
                yield make_finding("input-not-attached", Level.ERROR, where, reason, fix, OnKaggle.DEPENDS)


def writes(context: CheckContext) -> Iterator[CodeFinding]:
    """Files written below the read-only input, or in folders that only Kaggle's container lets a program make."""
    for call, path in _written(context):
        if INPUT.search(path):
            reason = f"{shorten(path)} is below /kaggle/input, which is read-only."
            yield make_finding(
                "write-to-input", Level.ERROR, call.where, reason, "Write to the current folder or /kaggle/temp."
            )
        elif path.startswith("/") and not path.startswith(WRITABLE):
            reason = f"{shorten(path)} is outside the writable folders."
            fix = "Write to the current folder, /kaggle/temp or /tmp."
            yield make_finding("write-outside", Level.WARNING, call.where, reason, fix, OnKaggle.DEPENDS)


def _written(context: CheckContext) -> Iterator[tuple[Call, str]]:
    """Calls that write a file or make a folder, each with the path as far as it is known."""
    for call in context.program.calls:
        arguments = call.node.args
        if call.name in ("open", "io.open") or call.method == "open":
            mode = call.keyword("mode") or (arguments[1] if len(arguments) > 1 else None)
            text = context.program.text(mode) if mode else None
            node = arguments[0] if arguments and text and set(text) & set("wax") else None
        elif call.method in ("write_text", "write_bytes", "touch") and isinstance(call.node.func, ast.Attribute):
            node = call.node.func.value
        elif call.method in WRITERS:
            position = WRITERS[call.method]
            keyword = call.keyword("path_or_buf") or call.keyword("path")
            node = arguments[position] if len(arguments) > position else keyword
            if node is None and call.method == "mkdir" and isinstance(call.node.func, ast.Attribute):
                node = call.node.func.value
            if call.method == "save" and len(arguments) > 1 and call.name.startswith("torch"):
                node = arguments[1]
        else:
            continue
        if node is not None and (path := context.program.text(node)):
            yield call, path


def changed_folder(context: CheckContext) -> Iterator[CodeFinding]:
    """A program that stays in a folder of the input and writes its CSV to the current folder."""
    changes = [call for call in context.program.calls if call.name == "os.chdir" and call.node.args]
    path = context.program.text(changes[-1].node.args[0]) if changes else None
    if path and INPUT.search(path):
        reason = f"The current folder is {shorten(path)} from here on, which is read-only."
        fix = 'Go back before you write: os.chdir("/kaggle/working").'
        yield make_finding("write-to-input", Level.WARNING, changes[-1].where, reason, fix)


def own_files(context: CheckContext) -> Iterator[CodeFinding]:
    """Files of the submission that are looked for in the current folder: that is /kaggle/working."""
    program = context.program
    if context.alone or any(call.name == "os.chdir" for call in program.calls):
        return
    for call in program.calls:
        imports = call.name in ("sys.path.append", "sys.path.insert")
        path = program.text(call.node.args[-1 if imports else 0]) if call.node.args else None
        if not path or path.startswith("/") or UNKNOWN in path or not (imports or call.method in READERS):
            continue
        found = context.folder / path
        mode = program.text(call.node.args[1]) if call.method == "open" and len(call.node.args) > 1 else "r"
        if found.is_dir() if imports else found.is_file() and not set(mode or "r") & set("wax"):
            reason = f"{path} is in the submission's folder, but the current folder is /kaggle/working."
            yield make_finding("own-file", Level.WARNING, call.where, reason, f"Use Path(__file__).parent / {path!r}.")


def other_machine(context: CheckContext) -> Iterator[CodeFinding]:
    """Paths of somebody's own computer or of Colab."""
    for text, where in context.program.texts:
        if len(text) < 300 and OTHER_MACHINE.fullmatch(text):
            reason = f"{shorten(text)} is a path of another machine."
            fix = "Read from /kaggle/input, and write to the current folder."
            yield make_finding("other-machine", Level.WARNING, where, reason, fix)


def shorten(path: str) -> str:
    """A path or command as it is shown."""
    return path.replace(UNKNOWN, "...")[:80]


FILE_RULES = (paths, writes, changed_folder, own_files, other_machine)
