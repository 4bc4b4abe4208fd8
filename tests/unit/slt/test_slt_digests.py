"""The digests in a searched ticket are those of the weights that were searched, not of what the seed gives again."""

import numpy as np
import torch

from accelsim.prng import RandomSource
from accelsim.slt.export import _with_digests
from accelsim.slt.layers import EdgePopupLayer
from accelsim.ticket.digest import filter_digests
from accelsim.ticket.pack import pack_layer, unpack_weights

SOURCE = RandomSource(prune_threshold=20000, lock_threshold=30000)
SHAPE = (4, 3, 3, 3)


def packed_of(layer):
    return pack_layer("conv", SHAPE, SOURCE, layer.mask(), "raw", np.ones(4), np.zeros(4))


def test_digests_are_those_of_the_searched_weights():
    layer = EdgePopupLayer(SOURCE, SHAPE, np.random.default_rng(1), torch.bfloat16)
    packed = packed_of(layer)
    assert _with_digests(packed, layer).digest_payload == filter_digests(unpack_weights(packed))

    layer.free_values[0] = -layer.free_values[0]
    found = np.frombuffer(_with_digests(packed, layer).digest_payload, "<u2")
    assert (found != np.frombuffer(packed.digest_payload, "<u2")).tolist() == [True, False, False, False]
