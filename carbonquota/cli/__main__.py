"""Lets `python -m carbonquota.cli` be the command line where the console script is not on the path."""

from carbonquota.cli import main

if __name__ == "__main__":
    main()
