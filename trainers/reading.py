"""What is in a file of weights? It is read without running any code that stands in it."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.config import InputError, MissingError


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a weights file holds, on the CPU, without running any code in it.

    Tensors of a torch file are mapped, not read, until they are used.

    Raises:
        MissingError: no such file.
        InputError: it cannot be read, or asks for code to be run.
    """
    if not path.is_file():
        raise MissingError(f"{path} does not exist")
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        # the published files keep their command line, an argparse.Namespace
        with torch.serialization.safe_globals([argparse.Namespace]):
            mapped = zipfile.is_zipfile(path)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        asked = re.search(r"(?:GLOBAL|function) ([\w.]+|<.*?>)", str(error))
        if asked:
            raise InputError(
                f"{path} is refused: it asks to run `{asked[1]}` while being read"
            ) from None
        raise InputError(f"{path} is no file of weights, or one of a kind unknown here") from None
    except (ValueError, LookupError, TypeError):  # what the parser of pickles stumbles over
        raise InputError(f"{path} is no file of weights, or a damaged one") from None
    except (RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{path} cannot be read: {_first_line(error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; expected named tensors")
    return content


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0] or type(error).__name__


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise InputError(f"{path} is refused: it holds pickled objects") from None
        raise InputError(f"{path} cannot be read: {_first_line(error)}") from None


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read: {_first_line(error)}") from None
