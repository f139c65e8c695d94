"""Submissions: the CSV, read as text and held against every rule; the code submission, and how one is started."""
