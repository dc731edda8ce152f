"""`python -m gateway` is `acorn`."""

from gateway.cli import main

main()
