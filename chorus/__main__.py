"""`python -m chorus`: the same as the command `chorus`."""

from chorus.cli import main

if __name__ == "__main__":
    main()
