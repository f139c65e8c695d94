"""Code that runs in the supervisor and in the job's process before the job: standard library only."""
