"""`python -m gatework`: the command, where the script is not on the path."""

from gatework.cli import main

if __name__ == "__main__":
    main()
