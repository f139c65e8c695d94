"""Ends well and leaves nothing."""

print("done")
