"""`python -m gaggle` is the command `gaggle`."""

from gaggle.cli import main

main()
