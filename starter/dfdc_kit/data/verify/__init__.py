"""Whether the data is there and whole: files looked at in parallel, remembered, and compared with the metadata."""
