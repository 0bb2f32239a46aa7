"""`python -m understudy.cli`: the command line where the script is not on the path."""

from understudy.cli import main

main()
