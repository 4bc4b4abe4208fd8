"""``python -m accelsim``: the command line."""

from accelsim.cli.main import main

if __name__ == "__main__":
    main()
