"""Audit: leaks and traps in the data, before a model learns from them."""
