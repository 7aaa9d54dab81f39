"""`python -m readyfs`."""

import sys

from readyfs.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
