"""A module of the submission."""
