"""The source of a code submission as syntax trees: its files or cells, imports, calls, texts and shell commands."""

import ast
import codecs
import io
import re
import sys
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dfdc_kit.submission.program_runner import MAGIC, OtherLanguageError, read_cells, split_cells, uses_notebook_syntax

UNKNOWN = "\0"  # stands for a part of a text that only a run would know
SHELLS = {"bash", "sh", "script", "system", "sx", "!"}  # cell magics with shell commands
PYTHON = {"time", "timeit", "capture", "prun", "memit", "lprun"}  # cell magics with Python; others hold other languages
TIMED = re.compile(r"(?:time|timeit|prun|memit)\s+(?:-\w+\s*\d*\s+)*")  # line magics before a Python statement
AUTOMAGIC = re.compile(r"^(?:pip|conda|cd|ls|cat|cp|mv|rm|mkdir|rmdir|run|load_ext|matplotlib|env)\s+[\w./~-]")
HELP = re.compile(r"^\s*\??\??[\w.]+\?{1,2}\s*$|^\s*\?{1,2}[\w.]+\s*$")
INPUT = re.compile(r"(?:^|/)(?:kaggle|\.\.)/input/")  # a path below the read-only input
MOST_BYTES = 4_000_000  # of one source file


@dataclass(frozen=True)
class Where:
    """A place in the source: file, number of the code cell (0: not a notebook), line in the file or cell, from 1."""

    file: str
    cell: int
    line: int

    def __str__(self) -> str:
        return f"{self.file}, cell {self.cell}, line {self.line}" if self.cell else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Unit:
    """One file or code cell. `tree` has no nodes where the text is no Python; then `error` says why."""

    file: str
    cell: int
    tree: ast.Module
    commands: list[tuple[int, str]]  # (line, shell command without its `!`)
    error: tuple[int, str] | None = None
    writes: str = ""  # the file that %%writefile makes of it
    language: str = ""  # of a notebook that is not in Python

    def where(self, line: int) -> Where:
        """The place of a line of this unit."""
        return Where(self.file, self.cell, line)


@dataclass(frozen=True)
class Imported:
    """An imported module; `optional`: a failure is caught by the program; `late`: imported inside a function."""

    module: str
    where: Where
    optional: bool
    late: bool = False


@dataclass(frozen=True)
class Call:
    """A call. `name` is the function as it is written, e.g. `pd.read_csv`; `method` its last part."""

    name: str
    node: ast.Call
    where: Where

    @property
    def method(self) -> str:
        """The last part of the name: `read_csv`."""
        return self.name.rpartition(".")[2]

    def keyword(self, name: str) -> ast.expr | None:
        """The value of a keyword argument, if it is given."""
        return next((keyword.value for keyword in self.node.keywords if keyword.arg == name), None)


@dataclass
class Program:
    """All source of a submission that its entry point reaches by imports."""

    units: list[Unit]
    local_modules: set[str] = field(default_factory=set)

    @cached_property
    def names(self) -> dict[str, str]:
        """The texts that are assigned to names, where they can be known: the last one of each name."""
        known: dict[str, str] = {}
        for _, node in self.walk(ast.Assign, ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value is None or (text := resolve(node.value, known)) is None:
                continue
            for target in targets:
                if isinstance(target, ast.Name | ast.Attribute):
                    known[ast.unparse(target)] = text
        return known

    @cached_property
    def calls(self) -> list[Call]:
        """Every call, in the order of the source."""
        found = []
        for unit, node in self.walk(ast.Call):
            name = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
            found.append(Call(name, node, unit.where(node.lineno)))
        return found

    @cached_property
    def commands(self) -> list[tuple[str, Where]]:
        """Shell commands: `!` lines, `%%bash` cells, and the texts given to os.system and subprocess."""
        found = [(text, unit.where(line)) for unit in self.units for line, text in unit.commands]
        for call in self.calls:
            shell = call.name in ("os.system", "os.popen") or call.name.startswith("subprocess.")
            if (shell or call.method in ("system", "getoutput", "check_call", "Popen")) and call.node.args:
                found.append((self._command_text(call.node.args[0]), call.where))
            elif call.method == "run_line_magic":  # of an exported notebook: 'pip', 'install x'
                found.append((" ".join(self.text(argument) or "" for argument in call.node.args), call.where))
        return found

    def _command_text(self, node: ast.expr) -> str:
        if isinstance(node, ast.List | ast.Tuple):
            return " ".join(self.text(item) or UNKNOWN for item in node.elts)
        return self.text(node) or ""

    @cached_property
    def imports(self) -> list[Imported]:
        """Every module that is imported by its absolute name."""
        found = []
        for unit in self.units:
            optional = _optional_lines(unit.tree)
            late = _function_lines(unit.tree)
            for node in ast.walk(unit.tree):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules = [node.module]
                else:
                    continue
                where = unit.where(node.lineno)
                found += [Imported(name, where, node.lineno in optional, node.lineno in late) for name in modules]
        needed = {one.module.split(".")[0] for one in found if not one.optional}
        guarded = {one.module for one in found} - needed  # what such a file of its own imports may fail, too
        return [replace(one, optional=one.optional or Path(one.where.file).stem in guarded) for one in found]

    @cached_property
    def texts(self) -> list[tuple[str, Where]]:
        """Texts and paths of the source, put together as far as they can be known; longest first within a place."""
        found: dict[tuple[str, Where], None] = {}
        for unit in self.units:
            for node in ast.walk(unit.tree):
                if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp | ast.Call):
                    text = self.text(node)
                    if text and not (isinstance(node, ast.Call) and text == UNKNOWN):
                        found[text, unit.where(node.lineno)] = None
        return list(found)

    def walk(self, *kinds: type[ast.AST]) -> Iterator[tuple[Unit, Any]]:
        """Every node of these kinds, with its unit."""
        for unit in self.units:
            for node in ast.walk(unit.tree):
                if isinstance(node, kinds):
                    yield unit, node

    def text(self, node: ast.expr) -> str | None:
        """The text that an expression yields, with UNKNOWN for parts that only a run would know; None if it is none."""
        return resolve(node, self.names)

    def uses(self, *words: str) -> bool:
        """Whether a name or an attribute of this spelling is used, as in `torch.cuda.is_available`."""
        return any(
            isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).endswith(words)
            for unit in self.units
            for node in ast.walk(unit.tree)
        )

    def uses_module(self, *names: str) -> bool:
        """Whether one of these packages is imported."""
        return any(imported.module.partition(".")[0] in names for imported in self.imports)


def resolve(node: ast.expr, names: dict[str, str]) -> str | None:
    """The text of a constant, f-string, sum, `a / b`, os.path.join, Path, or known name; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name | ast.Attribute):
        return names.get(ast.unparse(node))
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(value, names) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
        left, right = resolve(node.left, names), resolve(node.right, names)
        if left is None and right is None:
            return None
        divider = "/" if isinstance(node.op, ast.Div) else ""
        left, right = UNKNOWN if left is None else left, UNKNOWN if right is None else right
        return right if divider and right.startswith("/") else left.rstrip("/" if divider else "") + divider + right
    if isinstance(node, ast.Call) and node.args:
        name = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
        if name in ("Path", "pathlib.Path", "str", "os.path.join", "path.join", "join", "os.path.abspath"):
            parts = [resolve(part, names) for part in node.args]
            if any(part is not None for part in parts):
                return "/".join((UNKNOWN if part is None else part).rstrip("/") for part in parts)
        if name.endswith("expanduser"):
            return resolve(node.args[0], names)
    return None


def _part(value: ast.expr, names: dict[str, str]) -> str:
    inner = value.value if isinstance(value, ast.FormattedValue) else value
    return resolve(inner, names) or UNKNOWN


def _optional_lines(tree: ast.Module) -> set[int]:
    """Lines whose ImportError the program catches, or that only a type checker reads."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        caught = isinstance(node, ast.Try) and any(
            handler.type is None or re.search(r"ImportError|ModuleNotFoundError|Exception", ast.unparse(handler.type))
            for handler in node.handlers
        )
        if caught or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            for inner in node.body:  # type: ignore[attr-defined]
                lines |= set(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))
    return lines


def _function_lines(tree: ast.Module) -> set[int]:
    """Lines inside functions, which a run may never reach."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {line for node in functions for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def read_program(folder: Path, entry: str, *, alone: bool = False) -> Program:
    """The source of the submission in `folder`: its entry point and the modules of the folder that it imports.

    Nothing is executed. alone: `entry` is the whole submission, other files of its folder are not part of it.
    """
    program = Program([])
    waiting, seen = [folder / entry], set()
    while waiting:
        path = waiting.pop(0)
        if path in seen or not path.is_file() or path.stat().st_size > MOST_BYTES:
            continue
        seen.add(path)
        units = list(_read_units(path, path.relative_to(folder).as_posix()))
        program.units.extend(units)
        program.local_modules |= {Path(unit.writes).stem for unit in units if unit.writes}
        if alone:
            continue
        for imported in Program(units).imports + _relative_imports(units):
            top = imported.module.split(".")[0]
            below = folder.rglob(f"{top}.py") if top not in sys.stdlib_module_names else []  # added to sys.path, maybe
            for base in [path.parent, folder, *(file.parent for file in below)]:
                if found := _module_file(base, imported.module):
                    program.local_modules.add(top)
                    waiting.append(found)
                    break
    return program


def _relative_imports(units: list[Unit]) -> list[Imported]:
    found = []
    for unit in units:
        for node in ast.walk(unit.tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                modules = [node.module] if node.module else [alias.name for alias in node.names]
                found += [Imported(module, unit.where(node.lineno), optional=False) for module in modules]
    return found


def _module_file(base: Path, module: str) -> Path | None:
    """The file of `module` below `base`, or of the nearest package above it; None if there is neither."""
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        path = base.joinpath(*parts[:end])
        for candidate in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def _read_units(path: Path, name: str) -> Iterator[Unit]:
    """The units of a file: cells of a notebook or of a script with notebook syntax, else the whole script."""
    if path.suffix == ".ipynb":
        try:
            cells = [(number, 1, text) for number, text in enumerate(read_cells(path), start=1)]
        except OtherLanguageError as error:
            yield Unit(name, 0, ast.Module([], []), [], language=str(error))
            return
        except ValueError:
            yield Unit(name, 0, ast.Module([], []), [], (1, "not a notebook: expected JSON with a list of cells"))
            return
    elif uses_notebook_syntax(path):
        cells = [(0, *cell) for cell in split_cells(path.read_text("utf-8-sig", "replace"))]
    else:
        yield _read_script(path, name)
        return
    for number, line, text in cells:
        unit = read_unit(name, number, text, line)
        yield unit
        yield from _exported_magics(unit)


def _read_script(path: Path, name: str) -> Unit:
    source = path.read_bytes()
    try:
        if source.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise SyntaxError("the file is UTF-16, and Python reads UTF-8")
        source.decode(tokenize.detect_encoding(io.BytesIO(source).readline)[0])  # Python refuses what ast.parse takes
        return Unit(name, 0, _parse(source), [])
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        return Unit(name, 0, ast.Module([], []), [], (line, getattr(error, "msg", None) or str(error)))


def _exported_magics(unit: Unit) -> Iterator[Unit]:
    """Cells with a cell magic, as nbconvert exports them: get_ipython().run_cell_magic('time', '', 'cell')."""
    for node in ast.walk(unit.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".run_cell_magic"):
            parts = [resolve(argument, {}) for argument in node.args]
            if len(parts) == 3:
                name, line, body = parts
                inner = read_unit(unit.file, unit.cell, f"%%{name} {line}\n{body}")
                for part in ast.walk(inner.tree):
                    if hasattr(part, "lineno"):
                        part.lineno = node.lineno
                yield replace(inner, commands=[(node.lineno, text) for _, text in inner.commands])


def read_unit(file: str, cell: int, text: str, first_line: int = 1) -> Unit:
    """The tree and the shell commands of one cell, whose first line has this number; lines of IPython are removed."""
    magic = re.match(r"\s*%%([\w!]+)([^\n]*)(?:\n|$)", text)
    before = "\n" * (first_line - 1)
    if magic:
        name, target = magic[1], magic[2].split()[-1:]
        before += "\n" * magic[0].count("\n")
        text = text[magic.end() :]
        if name in SHELLS:
            lines = enumerate((before + text).splitlines(), start=1)
            return Unit(file, cell, ast.Module([], []), [(at, line.strip()) for at, line in lines if line.strip()])
        if name in ("writefile", "file") and target and target[0].endswith(".py"):
            return replace(read_unit(file, cell, before + text), writes=target[0])
        if name not in PYTHON:
            return Unit(file, cell, ast.Module([], []), [])
    text = before + text
    try:
        return Unit(file, cell, _parse(text), [])
    except (SyntaxError, ValueError):
        plain, commands = _without_magics(text)
    try:
        return Unit(file, cell, _parse(plain), commands)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        return Unit(file, cell, ast.Module([], []), commands, (line, getattr(error, "msg", None) or str(error)))


def _parse(source: str | bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in texts
        return ast.parse(source)


def _without_magics(text: str) -> tuple[str, list[tuple[int, str]]]:
    """The text with lines of IPython replaced by `pass`, and the shell commands among them."""
    lines: list[str] = []
    commands = []
    waiting = text.splitlines()
    while waiting:
        number, line = len(lines) + 1, waiting.pop(0)
        joined = [line]
        magic = MAGIC.match(line)
        while magic and joined[-1].endswith("\\") and waiting:  # the command goes on in the next line
            joined.append(waiting.pop(0))
        if magic:
            indent, target, sign, _ = magic.groups()
            command = " ".join(part.strip().rstrip("\\").rstrip() for part in joined)[magic.start(4) - len(indent) :]
            timed = TIMED.match(command) if sign == "%" else None
            if sign.startswith("!") or command.startswith(("pip ", "conda ", "sh ", "sx ")):
                commands.append((number, command.strip()))
            statement = command[timed.end() :] if timed else "[]" if target else "pass"
            lines.append(f"{indent}{target} = {statement}" if target else f"{indent}{statement}")
        elif HELP.match(line) or AUTOMAGIC.match(line):
            if line.startswith(("pip ", "conda ")):
                commands.append((number, line))
            lines.append("pass")
        else:
            lines.append(line)
        lines += [""] * (len(joined) - 1)
    return "\n".join(lines) + "\n", commands
