"""The state of a search on disk, so that an interrupted one goes on where it was."""

from __future__ import annotations

import os
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from accelsim.errors import TicketError

_FORMAT: Final = "accelsim-search-checkpoint"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class SearchState:
    """What a search needs to go on.

    Attributes
    ----------
    settings
        JSON of the settings that shape the result; a resume must have the same.
    num_epochs_done
        Whole epochs behind.
    scores, momenta
        float32 [num free] per weighted node; a momentum is empty before the first step.
    running_mean, running_var
        Batch-norm statistics per normalisation.
    """

    settings: str
    num_epochs_done: int
    scores: dict[str, torch.Tensor]
    momenta: dict[str, torch.Tensor]
    running_mean: dict[str, torch.Tensor]
    running_var: dict[str, torch.Tensor]


def write_checkpoint(path: str, state: SearchState) -> None:
    """Write the state to a temporary name beside ``path`` and put it in place, so that there is always a whole file."""
    content = {"format": _FORMAT, "version": _VERSION} | {name: getattr(state, name) for name in state.__slots__}
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                torch.save(content, file)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror
        raise TicketError(f"{path}: checkpoint cannot be written: {reason}; choose a writable place") from None


def read_checkpoint(path: str) -> SearchState:
    """Return the state in ``path``; nothing in the file is executed.

    Raises
    ------
    TicketError
        No such file, not a checkpoint of a search, or one of another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TicketError(f"{path}: checkpoint does not exist; start the search without --resume") from None
    except OSError as error:
        raise TicketError(f"{path}: checkpoint cannot be read: {error.strerror}; check the path") from None
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
        raise TicketError(
            f"{path}: is not a checkpoint of a search; give the file that --checkpoint-path made"
        ) from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
        raise TicketError(
            f"{path}: is not a search checkpoint of version {_VERSION}; give the file that --checkpoint-path made"
        )
    fields = [content.get(name) for name in SearchState.__slots__]
    tables = [_is_tensor_table(field) for field in fields[2:]]
    if not isinstance(fields[0], str) or not isinstance(fields[1], int) or not all(tables):
        raise TicketError(f"{path}: checkpoint is incomplete; start the search without --resume")
    return SearchState(*fields)  # type: ignore[arg-type]  # checked above


def _is_tensor_table(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items()
    )
