"""Runs the functions of a module that are named `check_...`, and prints "ok NAME" or "FAILED NAME: why" for each."""

import traceback
from collections.abc import Callable


def run_checks(namespace: dict[str, object]) -> None:
    """Each check raises where it meets something that works on Kaggle and not here."""
    for name, check in list(namespace.items()):
        if name.startswith("check_") and isinstance(check, Callable):
            try:
                check()
            except Exception:
                reason = traceback.format_exc().strip().splitlines()
                print(f"FAILED {name}: {reason[-1]} ({reason[-3].strip() if len(reason) > 3 else ''})", flush=True)
            else:
                print(f"ok {name}", flush=True)
