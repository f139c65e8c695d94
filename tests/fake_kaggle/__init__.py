"""A Kaggle for tests, on loopback: the wire protocol that the official client speaks, with injected faults.

As a fixture (`tests/conftest.py`): `fake_kaggle`. As a program: `python -m tests.fake_kaggle FOLDER`.
"""

from .faults import Fault
from .server import FakeKaggle, Seen
from .world import KEY, TOKEN, USER, World

__all__ = ["KEY", "TOKEN", "USER", "FakeKaggle", "Fault", "Seen", "World"]
