"""``python -m dntk`` is the command line ``dntk``, also where scripts are not on the path."""

from dntk.cli import main

if __name__ == "__main__":
    main()
