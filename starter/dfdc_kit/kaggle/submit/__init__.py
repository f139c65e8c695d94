"""Handing in: checks, upload, hosted run, submission, score, each step taken once; and the leaderboard."""
