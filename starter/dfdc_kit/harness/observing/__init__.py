"""Stage a code submission, run it, watch it, and take over what it leaves."""
