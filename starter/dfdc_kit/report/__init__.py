"""Reports: what a run was, what it did, what was decided; as JSON with a schema version."""
