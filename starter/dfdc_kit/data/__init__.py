"""Data: find the challenge's files and read its labels."""
