"""What `python -m cxrlab` starts: the same program as the `cxrlab` command."""

from __future__ import annotations

import sys

from cxrlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
