"""Rules of `dfdc check` about what the program writes: name and content of the CSV, rows left out or counted."""

import ast
import re
from collections.abc import Iterator

from dfdc_kit.submission.check import CheckContext, CodeFinding, Level, OnKaggle, make_finding
from dfdc_kit.submission.program import INPUT, UNKNOWN

CSV = "submission.csv"
NAME_LIKE = re.compile(r"^(?:my[_-]?|final[_-]?|new[_-]?)?sub(?:mission)?s?[\w.-]*\.csv(?:\.gz|\.zip)?$", re.IGNORECASE)


def csv_name(context: CheckContext) -> Iterator[CodeFinding]:
    """A submission file with another name or in another folder, and no submission.csv."""
    texts = [(text.replace(UNKNOWN, "*"), where) for text, where in context.program.texts if not INPUT.search(text)]
    if any(re.fullmatch(r"(?:\./|/kaggle/working/|\*/?)?submission\.csv", text) for text, _ in texts):
        return
    for text, where in texts:
        folder, _, name = text.rpartition("/")
        name_fits = name == CSV
        if len(name) > 80 or "\n" in text or not (name_fits or NAME_LIKE.match(name)) or "sample" in name.lower():
            continue
        if name_fits and folder in ("", ".", "/kaggle/working"):
            continue
        written = text.replace("*", "...")
        reason = f"The program writes {written}; Kaggle takes only submission.csv in the working folder."
        yield make_finding("csv-name", Level.ERROR, where, reason, f"Write {CSV} to the current folder.")


def csv_index(context: CheckContext) -> Iterator[CodeFinding]:
    """to_csv of the submission without index=False: an unnamed first column."""
    if any(call.method == "set_index" for call in context.program.calls):
        return
    for call in context.program.calls:
        path = context.program.text(call.node.args[0]) if call.node.args else None
        if call.method != "to_csv" or not path or not re.search(r"sub\w*\.csv$", path, re.IGNORECASE):
            continue
        index = call.keyword("index")
        off = isinstance(index, ast.Constant) and not index.value
        if not off and not call.keyword("index_label") and not any(one.arg is None for one in call.node.keywords):
            reason = "to_csv also writes the index, as a column without a name."
            yield make_finding("csv-index", Level.ERROR, call.where, reason, "Add index=False.")


def csv_ids(context: CheckContext) -> Iterator[CodeFinding]:
    """File names without .mp4 or with folders in the submission; labels that are words."""
    row_id, label = context.challenge.submission.row_id, context.challenge.submission.label
    globs = set()
    for _, node in context.program.walk(ast.Assign):
        if isinstance(node.value, ast.Call) and re.search(r"\bglob\(", ast.unparse(node.value)):
            globs |= {ast.unparse(target) for target in node.targets}
    for unit, node in context.program.walk(ast.Assign):
        target = ast.unparse(node.targets[0])
        where, value = unit.where(node.lineno), ast.unparse(node.value)
        if re.search(rf"\[['\"]{row_id}['\"]\]$|\.{row_id}$", target) and re.search(
            r"replace\(['\"]\\?\.mp4['\"]|splitext|\.stem\b|\[:-4\]", value
        ):
            reason = "File names lose their suffix .mp4; the rows would not match."
            yield make_finding("csv-names", Level.ERROR, where, reason, "Keep the file names of sample_submission.csv.")
        text = node.value.value if isinstance(node.value, ast.Constant) else None
        if re.search(rf"\[['\"]{label}['\"]\]$|\.{label}$", target) and isinstance(text, str):
            reason = f"The label is the text {text!r}; expected a probability from 0 to 1."
            yield make_finding("csv-labels", Level.ERROR, where, reason, "Write the probability of FAKE.")
    for unit, node in context.program.walk(ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == row_id and ast.unparse(value) in globs:
                reason = "File names are whole paths, from glob; the rows would not match."
                fix = "Use os.path.basename of each."
                yield make_finding("csv-names", Level.ERROR, unit.where(node.lineno), reason, fix)


def sample_values(context: CheckContext) -> Iterator[CodeFinding]:
    """The sample submission written back without new labels."""
    frames = {}
    for unit, node in context.program.walk(ast.Assign):
        read = node.value if isinstance(node.value, ast.Call) and node.value.args else None
        path = context.program.text(read.args[0]) if read and ast.unparse(read.func).endswith("read_csv") else None
        if (path or "").endswith("sample_submission.csv"):
            frames[ast.unparse(node.targets[0])] = unit.where(node.lineno)
    for call in context.program.calls:
        frame = call.name.removesuffix(".to_csv")
        if call.method == "to_csv" and frame in frames and not _is_changed(context, frame):
            reason = "The sample submission is written unchanged: all labels are 0."
            fix = "Assign your predictions to the label column."
            yield make_finding("sample-values", Level.WARNING, call.where, reason, fix, OnKaggle.SCORES_BADLY)


def _is_changed(context: CheckContext, frame: str) -> bool:
    """Whether something is assigned into the data frame, or it is handed to a function."""
    assigned = 0
    for _, node in context.program.walk(ast.Assign, ast.AugAssign, ast.Delete):
        targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
        names = [ast.unparse(target) for target in targets]
        if any(re.match(rf"{re.escape(frame)}[.\[]", name) for name in names):
            return True
        assigned += frame in names
    passed = any(ast.unparse(argument) == frame for call in context.program.calls for argument in call.node.args)
    changed = any(
        call.name.startswith(f"{frame}.")
        and call.method in ("insert", "update", "apply", "assign", "set_index", "iterrows")
        for call in context.program.calls
    )
    return assigned > 1 or passed or changed


def fixed_count(context: CheckContext) -> Iterator[CodeFinding]:
    """The number of public test videos in the source: the hidden rerun has another."""
    reason = "400 is the number of public test videos; the hidden rerun has more."
    fix = "Count the rows of sample_submission.csv."

    def is_400(node: ast.AST) -> bool:
        return isinstance(node, ast.Constant) and node.value == 400 and isinstance(node.value, int)

    for unit, node in context.program.walk(ast.BinOp, ast.Call, ast.Compare):
        if isinstance(node, ast.BinOp):
            found = isinstance(node.op, ast.Mult) and is_400(node.right) and isinstance(node.left, ast.List)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            sizes = name in ("range", "zeros", "ones", "full", "empty", "rand", "random", "uniform", "repeat", "tile")
            found = sizes and any(is_400(one) for one in [*node.args, *(keyword.value for keyword in node.keywords)])
        else:
            found = any(is_400(one) for one in node.comparators) and "len(" in ast.unparse(node.left)
            if found:
                note = "The program does something else for 400 videos than in the hidden rerun."
                where, check = unit.where(node.lineno), "Rehearse it: dfdc rehearse"
                yield make_finding("fixed-count", Level.NOTE, where, note, check, OnKaggle.DEPENDS)
                continue
        if found:
            yield make_finding("fixed-count", Level.WARNING, unit.where(node.lineno), reason, fix)


def head(context: CheckContext) -> Iterator[CodeFinding]:
    """`.head(n)` that is not just shown: rows or videos are left out."""
    shown = set()
    for _, node in context.program.walk(ast.Expr):
        shown |= {id(inner) for inner in ast.walk(node.value)}
    for call in context.program.calls:
        size = call.node.args[0] if call.node.args else None
        if call.method == "head" and isinstance(size, ast.Constant) and id(call.node) not in shown:
            reason = f".head({size.value!r}) keeps {size.value!r} rows only."
            yield make_finding(
                "head", Level.WARNING, call.where, reason, "Remove it before you submit.", OnKaggle.FAILS
            )


def training_labels(context: CheckContext) -> Iterator[CodeFinding]:
    """Labels of the training sample: they are withheld for videos that are scored."""
    folder = context.challenge.data.train_videos
    for text, where in context.program.texts:
        if f"{folder}/metadata.json" in text:
            reason = "The program reads labels of the training sample; those of scored videos are withheld."
            fix = "Score on videos outside train_sample_videos, or on a validation split."
            yield make_finding("training-labels", Level.NOTE, where, reason, fix, OnKaggle.WORKS)
            return


OUTPUT_RULES = (csv_name, csv_index, csv_ids, sample_values, fixed_count, head, training_labels)
