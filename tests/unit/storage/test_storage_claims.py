"""The sizes that papers claim, on the shapes they claim them for."""

from pathlib import Path

import numpy as np
import pytest

from accelsim.prng import RandomSource, freezing_map
from accelsim.storage import get_format, list_formats
from accelsim.trace.model import LayerWeights


def resnet50_shapes():
    shapes, channels = [(64, 3, 7, 7)], 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += [(width, channels, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            if block == 0:
                shapes.append((4 * width, channels, 1, 1))
            channels = 4 * width
    return [*shapes, (1000, 2048)]


# Otsuka et al.: 128-386-386-386-40 and a prediction layer 386-40.
GIN_SHAPES = [(386, 128), (386, 386), (386, 386), (40, 386), (40, 386)]


def frozen_ticket(shape, prune_ratio, lock_ratio, sparsity):
    """A synthetic ticket with exact ratios; float16 scale and offset per output channel."""
    total = int(np.prod(shape))
    pruned, locked = round(prune_ratio * total), round(lock_ratio * total)
    kept = round((1 - sparsity) * total)
    return LayerWeights(
        shape, kept, pruned, locked, total - pruned - locked, RandomSource(), "raw", num_scale_bits=32 * shape[0]
    )


def stored(name, layers):
    return [get_format(name).plan(layer).stored_bits for layer in layers]


def test_resnet50_mask_is_3_3_times_smaller_with_seven_tenths_frozen():
    layers = [frozen_ticket(shape, 0.5, 0.2, 0.7) for shape in resnet50_shapes()]
    assert sum(layer.num_weights for layer in layers) == 25_502_912
    frozen = sum(bits.mask for bits in stored("slt", layers))
    unfrozen = sum(bits.mask for bits in stored("slt-unfrozen", layers))
    assert unfrozen / frozen == pytest.approx(1 / 0.3, rel=1e-4)
    # A randomly pruned source (r = 0) of the same p stores half.
    assert unfrozen / sum(bits.mask for bits in stored("slt-pruned", layers)) == pytest.approx(2, rel=1e-4)


def test_realised_freezing_of_a_layer_keeps_the_claim():
    source = RandomSource(seed=77, prune_threshold=32768, lock_threshold=45875)
    shape = (512, 512, 3, 3)
    num_free = int((freezing_map(source, shape) == 0).sum())
    assert 512 * 512 * 9 / num_free == pytest.approx(1 / 0.3, rel=0.005)


def test_gin_is_40_times_smaller_than_its_fp32_weights():
    # The paper says 40.3: 32 / (1 - F) is 40.0 for the mask alone. See docs/storage.md for the difference.
    layers = [frozen_ticket(shape, 0.1, 0.1, 0.5) for shape in GIN_SHAPES]
    dense = sum(bits.weight for bits in stored("dense-fp32", layers))
    mask = sum(bits.mask for bits in stored("slt", layers))
    assert dense / mask == pytest.approx(40.0, rel=1e-3)
    assert dense / mask == pytest.approx(40.3, rel=0.01)
    everything = sum(bits.total for bits in stored("slt", layers))
    assert dense / everything == pytest.approx(35.4, rel=0.01)


def test_entropy_coded_rival_is_smaller_than_a_supermask_once_it_is_sparse_enough():
    shape = (512, 512, 3, 3)
    ticket = frozen_ticket(shape, 0.5, 0.2, 0.7)

    def rival(density):
        kept = round(density * ticket.num_weights)
        return LayerWeights(shape, kept, num_free=ticket.num_weights, codec="raw", source=RandomSource())

    slt = get_format("slt").plan(ticket).stored_bits.total
    assert get_format("entropy-int4").plan(rival(0.30)).stored_bits.total > 5 * slt
    assert get_format("entropy-int4").plan(rival(0.01)).stored_bits.total < 0.4 * slt
    assert get_format("entropy-int8").plan(rival(0.01)).stored_bits.total < 0.6 * slt


def test_documentation_lists_every_format():
    text = (Path(__file__).resolve().parents[3] / "docs" / "storage.md").read_text(encoding="utf-8")
    assert [name for name in list_formats() if f"`{name}`" not in text] == []
