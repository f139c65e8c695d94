"""The local history: every run, score, rehearsal and hand-in is a row in one SQLite file beside the run folders."""
