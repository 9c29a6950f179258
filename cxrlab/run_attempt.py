"""Starts the runner of an attempt.

    python -P -S cxrlab/run_attempt.py FOLDER ATTEMPT -- COMMAND...

By its file, without `-m` and without `site`, which lengthen the start of every run and do nothing
for it. What lies beside the package comes last, and so hides nothing of the standard library.
"""

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib takes longer

from cxrlab.runner import main

if __name__ == "__main__":
    sys.exit(main())
