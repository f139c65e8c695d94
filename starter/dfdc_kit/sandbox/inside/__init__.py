"""What runs in a job's own processes before it, and above it: standard library only."""
