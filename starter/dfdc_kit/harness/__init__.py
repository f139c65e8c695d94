"""The harness: stage a code submission, run it, watch it, judge it."""
