"""Starter kit and evaluation harness of the Deepfake Detection Challenge (DFDC)."""

__version__ = "0.1.0"
