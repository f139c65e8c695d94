"""Scoring: load a metric file, score a submission with it, explain the score."""
