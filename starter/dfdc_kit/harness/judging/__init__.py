"""From what was seen of a run to a verdict, and what explains it."""
