"""Getting the challenge's data: fetch, verify, unpack, remember what was verified."""
