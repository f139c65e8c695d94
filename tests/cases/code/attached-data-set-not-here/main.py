"""Imports a module of a data set that Kaggle attaches."""

import face_helpers_of_mine  # noqa: F401
