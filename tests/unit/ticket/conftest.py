"""Fixtures of the tests of tickets."""

from pathlib import Path

import pytest
import torch

from accelsim.ticket.importers import ImportedTicket, ImportOptions, import_checkpoint


@pytest.fixture
def imported(tmp_path: Path):
    def read(content: object, **options: object) -> ImportedTicket:
        torch.save(content, tmp_path / "checkpoint.pt")
        return import_checkpoint(tmp_path / "checkpoint.pt", ImportOptions(**options))

    return read
