"""The dress rehearsal: the hidden rerun on hard inputs, twice and in another order, with a table of what happened."""
