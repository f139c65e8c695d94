"""Rehearsals: a submission run on damaged and unusual videos, twice and in shuffled order, before it is submitted."""
