"""`python -m dfdc_kit` is the command `dfdc`."""

from dfdc_kit.cli import main

main()
