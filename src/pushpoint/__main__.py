"""`python -m pushpoint`."""

from pushpoint.cli import main

main()
