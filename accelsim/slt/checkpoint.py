"""The state of a search on disk, so that an interrupted one goes on where it was."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeGuard

import numpy as np
import torch

from accelsim.errors import TicketError
from accelsim.files import write_file
from accelsim.ticket.torchfile import read_torch_file

_FORMAT: Final = "accelsim-search-checkpoint"
_VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class SearchState:
    """What a search needs to go on.

    Attributes
    ----------
    settings
        JSON of the settings that shape the result; a resume must have the same.
    num_epochs_done
        Whole epochs behind.
    num_steps
        Steps of the optimiser behind; 0 where it counts none.
    scores, momenta, squares
        float32 [num free] per weighted node; momenta are empty before the first step, squares (Adam's second moments)
        also where there are none.
    running_mean, running_var
        Batch-norm statistics per normalisation.
    """

    settings: str
    num_epochs_done: int
    num_steps: int
    scores: dict[str, torch.Tensor]
    momenta: dict[str, torch.Tensor]
    squares: dict[str, torch.Tensor]
    running_mean: dict[str, torch.Tensor]
    running_var: dict[str, torch.Tensor]


def write_checkpoint(path: str, state: SearchState) -> None:
    """Write the state, so that there is always a whole file under ``path``."""
    content = {"format": _FORMAT, "version": _VERSION} | {name: getattr(state, name) for name in state.__slots__}
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TicketError(f"{path}: checkpoint cannot be written: {error.strerror}; choose a writable place") from None
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_file(target, buffer.getvalue(), TicketError)


def read_checkpoint(path: str) -> SearchState:
    """Return the state in ``path``; nothing in the file is executed.

    Raises
    ------
    TicketError
        No such file, not a checkpoint of a search, or one of another version.
    """
    if not os.path.exists(path):
        raise TicketError(f"{path}: checkpoint does not exist; start the search without --resume")
    try:
        content = read_torch_file(path)
    except TicketError as error:
        raise TicketError(
            f"{path}: is not a checkpoint of a search; give the file that --checkpoint-path made"
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
        raise TicketError(
            f"{path}: is not a search checkpoint of version {_VERSION}; give the file that --checkpoint-path made"
        )
    settings, num_epochs_done, num_steps, *values = (content.get(name) for name in SearchState.__slots__)
    tables = [table for table in map(_tensors, values) if table is not None]
    if not isinstance(settings, str) or not _is_count(num_epochs_done) or not _is_count(num_steps):
        raise TicketError(f"{path}: checkpoint is incomplete; start the search without --resume")
    if len(tables) < len(values):
        raise TicketError(f"{path}: checkpoint lacks numbers, or has odd ones; start the search without --resume")
    return SearchState(settings, num_epochs_done, num_steps, *tables)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _tensors(table: object) -> dict[str, torch.Tensor] | None:
    """Return a table of arrays as tensors; None if it is none, or holds a value that no search writes."""
    if not isinstance(table, dict):
        return None
    arrays = {name: value for name, value in table.items() if isinstance(name, str) and isinstance(value, np.ndarray)}
    if len(arrays) < len(table) or not all(np.isfinite(value).all() for value in arrays.values()):
        return None
    return {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
