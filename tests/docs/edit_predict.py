"""Replace the function `predict` in my-detector/main.py by the one in a file:  python edit_predict.py FILE"""

import ast
import sys
from pathlib import Path

path = Path("my-detector/main.py")
source = path.read_text("utf-8")
(function,) = [node for node in ast.parse(source).body if getattr(node, "name", "") == "predict"]
lines = source.splitlines(keepends=True)
lines[function.lineno - 1 : function.end_lineno] = [Path(sys.argv[1]).read_text("utf-8")]
path.write_text("".join(lines), "utf-8")
