"""Program: says what many command lines come to, for the price of importing torch once.

    python -m trainers.resolve < questions > answers

A question is a line with a JSON list, `["trainers.finetune", "--task", "siim", ...]`. Its answer is
a line with a JSON object: the configuration, or `error` and the exit `code` the program would have.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from trainers import finetune, pretrain
from trainers.config import ConfigError, InputError, MissingError

PROGRAMS = {"trainers.pretrain": pretrain.configure, "trainers.finetune": finetune.configure}
CODES = {ConfigError: 2, MissingError: 3, InputError: 4}


def resolve(question: Sequence[str]) -> dict[str, Any]:
    """Return the configuration a command line comes to, or why the program would refuse it."""
    try:
        return PROGRAMS[question[0]](question[1:]).flat
    except (ConfigError, MissingError, InputError) as error:
        return {"error": str(error), "code": CODES[type(error)]}


def main() -> int:
    """Answer every line of standard input as it comes: the next may contain the answer."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(resolve(json.loads(line))) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
