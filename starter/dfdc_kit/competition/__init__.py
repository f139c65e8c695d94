"""A competition: judging many submissions, ranking them, and the board."""
