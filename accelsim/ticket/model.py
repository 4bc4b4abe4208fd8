"""The Ticket artefact: all that is stored of a frozen strong lottery ticket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelsim.prng.source import RandomSource
from accelsim.ticket.graph import NetworkGraph

Provenance = Literal["searched", "imported", "synthetic", "dense"]
MaskCodec = Literal["raw", "entropy", "rle", "golomb"]


@dataclass(frozen=True, slots=True)
class TicketLayer:
    """One weighted layer as it is stored.

    Attributes
    ----------
    name
        Name of the graph node.
    shape
        KCRS or KC (CKRS for a transposed convolution; filters are then the second axis).
    source
        How weights and freezing map are regenerated; None where they cannot be (an imported checkpoint).
    codec
        How ``mask_payload`` encodes the mask bits of the free weights, in the order of the flattened weight tensor.
    mask_payload
        The packed bytes.
    payload_bits
        Bits of the payload that carry information (raw: the number of free weights).
    num_free, num_locked, num_kept
        Weights that were searched; that are locked; that the final mask keeps (locked ones included).
    scale_K, offset_K
        float16, one per output channel: what the kept and signed sum is multiplied by, and what is then added (weight
        magnitude, dynamic scaling and non-affine normalisation, folded).
    input_density
        Fraction of non-zero activations at this layer's input, measured on real images; None where it was not measured.
    weight_payload
        Imported tickets that cannot be regenerated: the sign bits of the weights, packed; else empty.
    frozen_payload
        Imported tickets that cannot be regenerated: the freezing map as two bit maps, pruned then locked; else empty.
    digest_payload
        `accelsim.ticket.digest.filter_digests` of the searched weights, for ``accelsim verify``; empty in older files.
        The chip does not read it.
    value_digest
        `accelsim.ticket.digest.value_digest` of scales, offsets and density as they were packed; None in older files.
    coat_payload, coat_kept
        Multicoated masks: the packed further coats, and how many free weights each keeps (`accelsim.ticket.coats`);
        empty where there is one mask.
    """

    name: str
    shape: tuple[int, ...]
    source: RandomSource | None
    codec: MaskCodec
    mask_payload: bytes
    payload_bits: int
    num_free: int
    num_locked: int
    num_kept: int
    scale_K: npt.NDArray[np.float16]  # noqa: N815  K is the shape letter
    offset_K: npt.NDArray[np.float16]  # noqa: N815
    input_density: float | None = None
    weight_payload: bytes = b""
    frozen_payload: bytes = b""
    digest_payload: bytes = b""
    coat_payload: bytes = b""
    coat_kept: tuple[int, ...] = ()
    value_digest: int | None = None

    @property
    def num_weights(self) -> int:
        """Return the number of weights, dropped ones included."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def num_coats(self) -> int:
        """Return the number of masks that are summed; 1 but for multicoated ones."""
        return 1 + len(self.coat_kept)

    @property
    def num_pruned(self) -> int:
        """Return the number of weights that freezing pruned."""
        return self.num_weights - self.num_free - self.num_locked


@dataclass(frozen=True, slots=True)
class Ticket:
    """A network as stored: graph, layers in graph order, and where it comes from.

    ``accuracy`` is the fraction of test images classified right by the ticket as stored (None: not measured), of a text
    that of the next characters foreseen; ``bits_per_character`` is then the mean of -log2 of the probability of each
    next character (None for other data);
    ``command`` is the command line that made it; ``notes`` are sentences on what an import found and gave up.
    """

    graph: NetworkGraph
    layers: tuple[TicketLayer, ...]
    provenance: Provenance
    dataset: str = ""
    accuracy: float | None = None
    command: str = ""
    regenerable: bool = True
    notes: tuple[str, ...] = ()
    bits_per_character: float | None = None

    def layer(self, name: str) -> TicketLayer:
        """Return the layer called ``name``; KeyError if there is none."""
        for candidate in self.layers:
            if candidate.name == name:
                return candidate
        raise KeyError(name)
