"""Runs whenever the run's own Python starts: shows it the packages of dfdc's Python, and notes missing input.

Copied into the environment of the run, so it imports nothing of the kit.
"""

# ruff: noqa: PTH100, PTH112, PTH116, PTH118, PTH120, PTH208, SIM105
# pathlib and contextlib take milliseconds to import, in every process that a program starts

import builtins
import io
import os
import site
import sys

TYPE_CHECKING = False  # of the module typing, which takes milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

MISSING_INPUT = "missing-input"  # in the environment's folder: paths below /kaggle/input, one on each line
UTILITY_SCRIPTS = "usr/lib"  # below /kaggle: a folder for each, which Kaggle puts on sys.path
MOST_PATHS = 200  # noted by one process
NATIVE = {  # functions and classes that open paths among their arguments where Python does not see it, by library
    "av": ("open",),
    "cv2": (
        "VideoCapture",
        "imread",
        "CascadeClassifier",
        "dnn.readNet",
        "dnn.readNetFromCaffe",
        "dnn.readNetFromONNX",
    ),
    "decord": ("AudioReader", "AVReader", "VideoReader"),
    "dlib": ("cnn_face_detection_model_v1", "face_recognition_model_v1", "load_rgb_image", "shape_predictor"),
    "h5py": ("File",),
    "onnxruntime": ("InferenceSession",),
    "soundfile": ("SoundFile",),
    "sqlite3": ("connect",),
    "subprocess": ("Popen",),  # paths in the command
    "torchvision.io": ("read_file", "read_image"),
}
MOST_CHARACTERS = 10_000  # of an argument that is searched for paths


def start(folders: list[str]) -> None:
    """Prepare this Python. folders: where the packages of dfdc's Python are."""
    if isinstance(open, Watched):  # Python reads the .pth files of a virtual environment twice
        return
    os.environ["PATH"] = sys.prefix + "/bin:" + os.environ.get("PATH", os.defpath)
    for folder in folders:
        site.addsitedir(folder)
    scripts = os.path.join(os.path.dirname(os.path.dirname(os.environ.get("DFDC_INPUT_DIR", ""))), UTILITY_SCRIPTS)
    if scripts.startswith("/") and os.path.isdir(scripts):
        sys.path += [os.path.join(scripts, name) for name in sorted(os.listdir(scripts))]
    for folder in sys.path[:]:
        try:
            if os.path.isdir(folder):
                os.listdir(folder)
        except PermissionError:  # hidden by the sandbox: pip would fail on it
            sys.path.remove(folder)
    _watch()


def _watch() -> None:
    """Replace the functions that look for files. An audit hook sees no stat(), and doubles the time of deepcopy."""
    inputs = [f"{os.path.dirname(os.environ.get('DFDC_INPUT_DIR', ''))}/", "/kaggle/input/"]
    seen: set[str] = set()

    def note(path: "str | bytes") -> None:
        full = os.path.abspath(os.fsdecode(path))
        full = f"{full}/." if f"{full}/" in inputs else full
        name = next((full[len(folder) :] for folder in inputs if len(folder) > 1 and full.startswith(folder)), "")
        if name and name not in seen and len(seen) < MOST_PATHS and "\n" not in name:
            seen.add(name)
            target = os.open(os.path.join(sys.prefix, MISSING_INPUT), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(target, os.fsencode(f"{name}\n"))
            os.close(target)

    supported = [getattr(os, name) for name in ("supports_dir_fd", "supports_fd", "supports_follow_symlinks")]
    for name in ("stat", "lstat", "open", "chdir", "listdir", "scandir"):
        original = getattr(os, name)
        watched = Watched(original, "os", note)
        setattr(os, name, watched)
        for functions in supported:
            if original in functions:
                functions.add(watched)
    builtins.open = io.open = Watched(open, "io", note)
    os.system = LooksFirst(os.system, "os")
    sys.meta_path.insert(0, NativeLibraries())
    sys.excepthook = _without_our_frame


class Watched:
    """A function as it was, which also calls `note` with the path that it did not find.

    An instance, not a function: as an attribute of a class it must not become a method.
    """

    def __init__(self, original: "Any", module: str, note: "Callable[[Any], None]") -> None:
        self.__wrapped__ = original
        self.__name__ = self.__qualname__ = original.__name__
        self.__doc__ = original.__doc__
        self.__module__ = module
        self._note = note

    def __call__(self, *args: "Any", **options: "Any") -> "Any":  # noqa: D102
        __tracebackhide__ = True  # in IPython
        try:
            return self.__wrapped__(*args, **options)
        except (FileNotFoundError, NotADirectoryError) as error:
            self._try_to_note(error.filename)
            raise

    def _try_to_note(self, path: "Any") -> None:
        try:
            if isinstance(path, str | bytes):
                self._note(path)
        except OSError:  # the environment cannot be written, or the current folder is gone
            pass

    def __reduce__(self) -> str:
        return str(self.__name__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


class NativeLibraries:
    """An import hook: each library of NATIVE, once imported, looks for the paths below the input that it is given."""

    def find_spec(self, name: str, *where: "Any") -> "Any":  # noqa: D102
        if name not in NATIVE:
            return None
        finders = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec: Any = next(filter(None, (finder.find_spec(name, *where) for finder in finders)), None)
        load = getattr(spec and spec.loader, "exec_module", None)

        def exec_module(module: "Any") -> None:
            load(module)  # type: ignore[misc]
            for function in NATIVE[name]:
                _make_look_first(module, function)

        if load and hasattr(spec.loader, "__dict__"):
            spec.loader.exec_module = exec_module
        return spec


def _make_look_first(owner: "Any", name: str) -> None:
    """Change a function or class of a library; a class keeps its identity if it is written in Python."""
    if "." in name:
        first, name = name.split(".")
        owner = getattr(owner, first, None)
    original: Any = getattr(owner, name, None)
    if original is None or hasattr(original, "looks_first"):
        return
    init: Any = vars(original).get("__init__") if isinstance(original, type) else None
    if not hasattr(init, "__code__"):
        setattr(owner, name, LooksFirst(original, owner.__name__))
        return

    def look_first(*args: "Any", **options: "Any") -> None:
        __tracebackhide__ = True
        _look_for([*args[1:], *options.values()])
        init(*args, **options)

    look_first.__wrapped__ = init  # type: ignore[attr-defined]
    original.__init__, original.looks_first = look_first, True


class LooksFirst:
    """A function, or a class written in C, as it was, which first looks for the paths that it is given.

    Not a subclass: subclasses of cv2's classes crash in Python's garbage collection.
    """

    looks_first = True

    def __init__(self, original: "Any", module: str) -> None:
        self.__wrapped__ = original
        self.__doc__ = original.__doc__
        self.__module__ = module

    def __call__(self, *args: "Any", **options: "Any") -> "Any":  # noqa: D102
        __tracebackhide__ = True
        _look_for([*args, *options.values()])
        return self.__wrapped__(*args, **options)

    def __getattr__(self, name: str) -> "Any":
        return getattr(self.__wrapped__, name)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, self.__wrapped__)

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, self.__wrapped__)

    def __mro_entries__(self, bases: "Any") -> "Any":
        return (self.__wrapped__,)

    def __or__(self, other: "Any") -> "Any":
        return self.__wrapped__ | other

    def __reduce__(self) -> str:
        return str(self.__wrapped__.__name__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


def _look_for(values: "list[Any]") -> None:
    """Let `os.stat` note the paths among the arguments, or the words of a command, that are missing."""
    for one in [part for value in values for part in (value if isinstance(value, list | tuple) else [value])]:
        path = one.__fspath__() if hasattr(one, "__fspath__") else one
        text = os.fsdecode(path) if isinstance(path, bytes) else path
        if not isinstance(text, str) or "input" not in text or len(text) > MOST_CHARACTERS:
            continue
        for word in (text, *text.split()):
            try:
                os.stat(word.strip("\"'`;|&<>()"))
            except (OSError, ValueError):
                pass


def _without_our_frame(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
    """Print a traceback as without this module."""
    last = trace
    while last and last.tb_next:
        if last.tb_next.tb_frame.f_code.co_filename == __file__:
            last.tb_next = last.tb_next.tb_next
        else:
            last = last.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)
