"""Encoded weight tensors, and how fixed-width fields are packed into bytes (most significant bit first)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accelsim.errors import MappingError
from accelsim.storage.base import StorageFormat, StoredBits

IntTensor = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]
BitArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EncodedWeights:
    """A weight tensor as a storage format keeps it.

    Attributes
    ----------
    shape
        Shape of the tensor; known to the chip from the layer graph, so not counted.
    bits
        Exact bits per class; each stream of bytes holds them plus at most 7 bits of padding.
    mask, seed, weight, index, scale
        The bytes of each class; scales are those of groups of weights, not those of the network.
    """

    format: str
    shape: tuple[int, ...]
    bits: StoredBits
    mask: bytes = b""
    seed: bytes = b""
    weight: bytes = b""
    index: bytes = b""
    scale: bytes = b""

    @property
    def num_weights(self) -> int:
        """Return the number of weight positions."""
        return int(np.prod(self.shape, dtype=np.int64))


class TensorFormat(StorageFormat, Protocol):
    """A storage format that keeps values: it encodes any tensor that it can hold, and decodes to the same one."""

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` encoded; raise `MappingError` where the format cannot hold them."""
        ...

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the tensor that was encoded."""
        ...


def field_bits(values: IntTensor, width_bits: int) -> BitArray:
    """Return the low ``width_bits`` (0 to 32) bits of each value, one after the other; two's complement if negative."""
    words = (values.ravel().astype(np.int64) & 0xFFFFFFFF).astype(">u4")
    bits = np.unpackbits(words.view(np.uint8).reshape(-1, 4), axis=1)
    return bits[:, 32 - width_bits :].ravel()


def fields(bits: BitArray, width_bits: int, count: int, *, signed: bool = False) -> npt.NDArray[np.int64]:
    """Return the first ``count`` fields of ``width_bits`` (0 to 32) bits, as two's complement if ``signed``."""
    padded = np.zeros((count, 32), dtype=np.uint8)
    padded[:, 32 - width_bits :] = bits[: count * width_bits].reshape(count, width_bits)
    values = np.packbits(padded, axis=1).view(">u4").astype(np.int64).ravel()
    if signed and width_bits:
        values -= (values >> (width_bits - 1) & 1) << width_bits
    return values


def pack(*streams: BitArray | BoolArray) -> bytes:
    """Return bit streams one behind the other as bytes, padded with zeros at the end."""
    return np.packbits(np.concatenate([stream.ravel().astype(np.uint8) for stream in streams])).tobytes()


def unpack(data: bytes, num_bits: int, first_bit: int = 0) -> BitArray:
    """Return ``num_bits`` bits of ``data`` from ``first_bit`` on."""
    return np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=first_bit + num_bits)[first_bit:]


def check_range(format_name: str, values: IntTensor, low: int, high: int) -> None:
    """Raise `MappingError` unless every value lies in [low, high]."""
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        raise MappingError(
            f"storage {format_name}: weights from {int(values.min())} to {int(values.max())} do not fit {low} to "
            f"{high}; quantise them first, or choose a wider format"
        )
