"""`python -m databom` is the `databom` command."""

from databom.cli import main

main()
