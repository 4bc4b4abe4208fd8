"""``python -m accelsim``: the command line."""

import sys

from accelsim.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
