"""What is seen of a running job from outside: its processes, memory, files, cards and output."""
