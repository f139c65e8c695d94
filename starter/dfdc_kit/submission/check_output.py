"""Rules of `dfdc check` about what the program writes: name and content of the CSV, rows left out or counted."""

import ast
import posixpath
import re
from collections.abc import Iterator

from dfdc_kit.submission.check import CheckContext, CodeFinding, Level, OnKaggle, make_finding
from dfdc_kit.submission.program import INPUT, UNKNOWN, Call, Where

CSV = "submission.csv"
NAME_LIKE = re.compile(r"^(?:my[_-]?|final[_-]?|new[_-]?)?sub(?:mission)?s?[\w.-]*\.csv(?:\.gz|\.zip)?$", re.IGNORECASE)

PLAIN: dict[str, tuple[object, ...]] = {  # to_csv's options and what they may be
    "header": (True,),
    "sep": (",",),
    "decimal": (".",),
    "compression": (None, "infer"),
    "encoding": (None, "utf-8", "utf8", "UTF-8", "ascii"),
}


def csv_name(context: CheckContext) -> Iterator[CodeFinding]:
    """A submission file with another name or in another folder, and no submission.csv."""
    texts = [(text.replace(UNKNOWN, "*"), where) for text, where in context.program.texts if not INPUT.search(text)]
    named = [*(text for text, _ in texts), *context.arguments]
    if any(re.fullmatch(r"\*?/?submission\.csv", in_working_folder(text)) for text in named):
        return
    found = False
    for text, where in texts:
        name = text.rpartition("/")[2]
        name_fits = name == CSV
        if len(name) > 80 or "\n" in text or not (name_fits or NAME_LIKE.match(name)) or "sample" in name.lower():
            continue
        found, written = True, text.replace("*", "...")
        reason = f"The program writes {written}; Kaggle takes only submission.csv in the working folder."
        yield make_finding("csv-name", Level.ERROR, where, reason, f"Write {CSV} to the current folder.")
    unread = any(unit.error or unit.language for unit in context.program.units)
    if not (found or unread or context.inputs or _writes_unknown_file(context)):
        reason = "Nothing in the source names submission.csv, the file that Kaggle takes."
        where = context.program.units[-1].where(1) if context.program.units else Where(context.entry, 0, 1)
        yield make_finding("csv-missing", Level.WARNING, where, reason, f"Write {CSV} to the current folder.")


def _writes_unknown_file(context: CheckContext) -> bool:
    """Whether a file is written whose name only a run would know, maybe by another program."""
    for call in context.program.calls:
        if call.method in ("to_csv", "open", "savetxt", "run_path"):
            path = context.program.text(call.node.args[0]) if call.node.args else None
            if path is None or UNKNOWN in path:
                return True
    commands = any(re.search(r"\.py\b|>", text) for text, _ in context.program.commands)
    return commands or any(call.method in ("write_text", "exec", "run_line_magic") for call in context.program.calls)


def in_working_folder(path: str) -> str:
    """A path as it is below /kaggle/working, where a program starts.

    >>> [in_working_folder(path) for path in ("./a.csv", "../working/a.csv", "/kaggle/working/x/../a.csv")]
    ['a.csv', 'a.csv', 'a.csv']
    """
    return posixpath.relpath(posixpath.join("/kaggle/working", path), "/kaggle/working") if path else path


def csv_options(context: CheckContext) -> Iterator[CodeFinding]:
    """to_csv of the submission with an index, another format, or other columns."""
    columns, index_is_named = _columns(context), _names_an_index(context)
    for call in context.program.calls:
        node = call.node.args[0] if call.node.args else call.keyword("path_or_buf")
        path = context.program.text(node) if node else None
        if call.method != "to_csv" or not path or not re.search(r"sub\w*\.csv$", path, re.IGNORECASE):
            continue
        if not index_is_named and _writes_index(call):
            reason = "to_csv also writes the index, as a column without a name."
            yield make_finding("csv-index", Level.ERROR, call.where, reason, "Add index=False.")
        for option, value in _options(call).items():
            if option in PLAIN and value not in PLAIN[option]:
                reason = f"{option}={value!r}: Kaggle reads plain UTF-8 text with a header, commas and decimal points."
                yield make_finding("csv-format", Level.ERROR, call.where, reason, f"Remove {option}.")
        seen, wanted = columns.get(call.name.rpartition(".")[0]), context.challenge.submission
        if seen and not index_is_named and not {wanted.row_id, wanted.label} <= set(seen):
            reason = f"The columns are {', '.join(seen)}; expected {wanted.row_id}, {wanted.label}."
            yield make_finding("csv-columns", Level.ERROR, call.where, reason, "Rename them.")


def _options(call: Call) -> dict[str, object]:
    return {one.arg: one.value.value for one in call.node.keywords if one.arg and isinstance(one.value, ast.Constant)}


def _names_an_index(context: CheckContext) -> bool:
    """Whether some index of the program has a name, so that it may well be the column of the file names."""
    named = any(
        call.method in ("set_index", "rename_axis") or call.keyword("index_col") for call in context.program.calls
    )
    return named or any(
        ast.unparse(node.targets[0]).endswith(".index.name") for _, node in context.program.walk(ast.Assign)
    )


def _writes_index(call: Call) -> bool:
    index = call.keyword("index")
    off = isinstance(index, ast.Constant) and not index.value
    return not off and not call.keyword("index_label") and not any(one.arg is None for one in call.node.keywords)


def _columns(context: CheckContext) -> dict[str, list[str]]:
    """The columns of data frames whose last assignment is DataFrame(columns=[...]), x.columns = [...]."""
    found: dict[str, list[list[str]]] = {}
    for _, node in context.program.walk(ast.Assign):
        name, value = ast.unparse(node.targets[0]), node.value
        if name.endswith(".columns"):
            found.setdefault(name.removesuffix(".columns"), []).append(_constants(value))
        elif "[" in name:  # a new column, or an old one
            found.setdefault(name.partition("[")[0], []).append([])
        elif isinstance(value, ast.Call) and ast.unparse(value.func).endswith("DataFrame"):
            given = next((one.value for one in value.keywords if one.arg == "columns"), None)
            first = value.args[0] if value.args else None
            keys = [_text(key) for key in first.keys] if isinstance(first, ast.Dict) else []
            found.setdefault(name, []).append(_constants(given) if given else keys)
        else:
            found.setdefault(name, []).append([])
    return {name: places[-1] for name, places in found.items() if all(places[-1])}


def _constants(node: ast.expr) -> list[str]:
    return [_text(item) for item in node.elts] if isinstance(node, ast.List | ast.Tuple) else []


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


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
            reason = "The suffix .mp4 of the file names is changed; the rows would not match."
            yield make_finding("csv-names", Level.ERROR, where, reason, "Keep the file names of sample_submission.csv.")
        if re.search(rf"[\[\s]['\"]{label}['\"]\]$|\.{label}$", target) and _no_probability(node.value):
            reason = f"The label is {value}; expected a probability from 0 to 1."
            yield make_finding("csv-labels", Level.ERROR, where, reason, "Write the probability of FAKE.")
    for unit, node in context.program.walk(ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == row_id and ast.unparse(value) in globs:
                reason = "File names are whole paths, from glob; the rows would not match."
                fix = "Use os.path.basename of each."
                yield make_finding("csv-names", Level.ERROR, unit.where(node.lineno), reason, fix)


def _no_probability(node: ast.expr) -> bool:
    """Whether an expression is a text, a truth value, NaN, infinite, or a number outside 0 to 1."""
    text = ast.unparse(node)
    if re.fullmatch(r"-?(?:np|numpy|math)\.(?:nan|NaN|NAN|inf|Inf)|-?float\(['\"].*['\"]\)|None|True|False", text):
        return True
    try:
        value = ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError):
        return False
    return isinstance(value, str) or (isinstance(value, int | float) and not 0 <= value <= 1)


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

    for unit, node in context.program.walk(ast.Assert):
        if match := re.search(r"len\(.*\) == (\d\d+)\b", ast.unparse(node.test)):
            broken = f"The assertion holds for {match[1]} videos only; the hidden rerun has another number."
            yield make_finding("fixed-count", Level.WARNING, unit.where(node.lineno), broken, "Remove it.")
    asserted = {id(inner) for _, node in context.program.walk(ast.Assert) for inner in ast.walk(node)}
    for unit, node in context.program.walk(ast.BinOp, ast.Call, ast.Compare, ast.Subscript):
        if id(node) in asserted:
            continue
        if isinstance(node, ast.BinOp):
            found = isinstance(node.op, ast.Mult) and is_400(node.right) and isinstance(node.left, ast.List)
        elif isinstance(node, ast.Subscript):
            cut = isinstance(node.slice, ast.Slice) and node.slice.upper is not None and is_400(node.slice.upper)
            found = cut and re.search(r"sub|pred|label|file|video|test", ast.unparse(node.value)) is not None
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


OUTPUT_RULES = (csv_name, csv_options, csv_ids, sample_values, fixed_count, head, training_labels)
