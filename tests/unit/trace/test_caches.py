"""Exported decoders with a cache of keys and values as input and output."""

import pytest
import torch
from torch import nn

from accelsim import trace_module
from accelsim.config.loader import load_hardware
from accelsim.mapping.cores import PARTS, split_task
from accelsim.mapping.network import network_tasks, residency_of
from accelsim.pipeline import layer_plans, run
from accelsim.trace.modules import graph_from_file
from accelsim.trace.phases import with_cache_bits

BATCH, HEADS, GROUPS, SIZE, CACHED = 2, 8, 2, 8, 16


class Attention(nn.Module):
    """Grouped-query attention of one position; keys and values are repeated for each head of a group."""

    def __init__(self):
        super().__init__()
        width, narrow = HEADS * SIZE, GROUPS * SIZE
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, narrow, bias=False)
        self.value, self.out = nn.Linear(width, narrow, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x, keys, values):
        def heads(y):
            return y.view(BATCH, 1, -1, SIZE).transpose(1, 2)

        def repeated(y):
            shape = (BATCH, GROUPS, HEADS // GROUPS, y.shape[2], SIZE)
            return y[:, :, None].expand(shape).reshape(BATCH, HEADS, y.shape[2], SIZE)

        keys = torch.cat([keys, heads(self.key(x))], 2)
        values = torch.cat([values, heads(self.value(x))], 2)
        root = SIZE**-0.25  # ONNX exporters write the scale so, on both operands
        scores = (heads(self.query(x)) * root) @ (repeated(keys).transpose(-1, -2) * root)
        mixed = torch.softmax(scores, -1) @ repeated(values)
        return self.out(mixed.transpose(1, 2).reshape(BATCH, 1, -1)), keys, values


@pytest.fixture(scope="module")
def exported():
    cache = torch.zeros(BATCH, GROUPS, CACHED, SIZE)
    return trace_module(Attention().eval(), (torch.zeros(BATCH, 1, HEADS * SIZE), cache, cache.clone()))


@pytest.mark.parametrize("bits", [None, 16, 4])
def test_a_cache_is_read_once_a_group_and_written_at_its_own_width(exported, bits):
    trace = with_cache_bits(exported, bits, "attention")
    found = run(load_hardware("edge_llm", []), trace, "dense-int8").totals.dram_bytes
    in_cache = 2 * BATCH * GROUPS * SIZE
    assert found.kv_read == in_cache * CACHED * (bits or 8) / 8
    assert found.kv_write == max(in_cache * (bits or 8) / 8, 2 * 32)  # whole bursts
    products = [layer for layer in trace.layers if layer.kind == "matmul"]
    assert [layer.dims.G for layer in products] == [BATCH * GROUPS] * 2
    assert [layer.cached_elements for layer in products] == [in_cache * CACHED // 2] * 2


REPETITIONS = {
    "stack": lambda y: torch.stack([y] * (HEADS // GROUPS), 2).flatten(1, 2),
    "cat": lambda y: torch.cat([y] * (HEADS // GROUPS), 1),
}


@pytest.mark.parametrize("spelling", REPETITIONS)
def test_a_cache_joined_to_itself_is_read_once_a_group(spelling):
    class Repeating(nn.Module):
        def forward(self, x, keys):
            return x @ REPETITIONS[spelling](torch.cat([keys, x[:, :GROUPS]], 2)).mT, x

    queries, cache = torch.zeros(BATCH, HEADS, 1, SIZE), torch.zeros(BATCH, GROUPS, CACHED, SIZE)
    (product,) = [each for each in trace_module(Repeating(), (queries, cache)).layers if each.kind == "matmul"]
    assert (product.dims.G, product.second_input_elements) == (BATCH * GROUPS, BATCH * GROUPS * (CACHED + 1) * SIZE)


class Joined(nn.Module):
    """Attention of one position whose queries, keys and values one layer makes, as GPT-2 has it."""

    def __init__(self):
        super().__init__()
        self.make, self.out = nn.Linear(HEADS * SIZE, 3 * HEADS * SIZE), nn.Linear(HEADS * SIZE, HEADS * SIZE)

    def forward(self, x, keys, values):
        queries, key, value = (y.view(BATCH, 1, HEADS, SIZE).transpose(1, 2) for y in self.make(x).chunk(3, -1))
        keys, values = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        mixed = torch.softmax(queries @ keys.mT, -1) @ values
        return self.out(mixed.transpose(1, 2).reshape(BATCH, 1, -1)), keys, values


@pytest.mark.parametrize("stays", [True, False])
def test_queries_that_are_made_along_with_keys_and_values_are_not_cached(stays):
    cache = torch.zeros(BATCH, HEADS, CACHED, SIZE)
    trace = trace_module(Joined().eval(), (torch.zeros(BATCH, 1, HEADS * SIZE), cache, cache.clone()))
    chip = load_hardware("edge_llm", [f"mapping.keep_activations_on_chip={str(stays).lower()}"])
    made = next(layer for layer in run(chip, trace, "dense-int8").layers if layer.name == "make")
    one = BATCH * HEADS * SIZE
    assert made.dram_bytes.activation_out == (0 if stays else one)
    assert 2 * one <= made.dram_bytes.kv_write <= 2 * one + 32  # whole bursts of tiles


def test_cores_together_cache_what_a_layer_caches():
    cache = torch.zeros(BATCH, HEADS, CACHED, SIZE)
    trace = trace_module(Joined().eval(), (torch.zeros(BATCH, 1, HEADS * SIZE), cache, cache.clone()))
    plans, chip = layer_plans(trace, "dense-int8"), load_hardware("edge_llm", []).config
    tasks = network_tasks(trace, plans, chip, residency_of(trace, plans, chip))
    made = next(task for task in tasks if task.layer.name == "make")
    assert made.rest_stays
    divided = [parts for by in PARTS if (parts := split_task(made, by, 2, BATCH)) is not None]
    assert divided
    for parts in divided:
        assert sum(part.memory_outputs for part in parts) == made.memory_outputs == 2 * BATCH * HEADS * SIZE


class Quantised(nn.Module):
    """A query against cached keys in bytes: joined before they are scaled back, or after."""

    def __init__(self, *, is_joined):
        super().__init__()
        self.key, self.is_joined = nn.Linear(HEADS * SIZE, GROUPS * SIZE, bias=False), is_joined
        self.register_buffer("scale", torch.full((1, GROUPS, 1, 1), 0.1))

    def forward(self, x, keys):
        new = self.key(x).view(BATCH, 1, GROUPS, SIZE).transpose(1, 2)
        small = (new / self.scale).round().to(torch.int8)
        joined = torch.cat([keys, small], 2)
        both = joined.float() * self.scale if self.is_joined else torch.cat([keys.float() * self.scale, new], 2)
        queries = x.view(BATCH, 1, HEADS, SIZE).transpose(1, 2)
        return queries @ both.repeat_interleave(HEADS // GROUPS, 1).mT, joined


@pytest.mark.parametrize("is_joined", [True, False])
def test_a_cache_in_bytes_is_read_once_a_group_whatever_scales_it(is_joined):
    cache = torch.zeros(BATCH, GROUPS, CACHED, SIZE, dtype=torch.int8)
    trace = trace_module(Quantised(is_joined=is_joined), (torch.zeros(BATCH, 1, HEADS * SIZE), cache))
    found = run(load_hardware("edge_llm", ["activation_bits=16"]), trace, "dense-int8").totals.dram_bytes
    assert found.kv_read == BATCH * GROUPS * CACHED * SIZE


class Reordered(nn.Module):
    """Keys in an order that beams choose, or written into a cache of fixed size, scaled as ONNX exporters write it."""

    def __init__(self, *, is_static):
        super().__init__()
        self.key, self.is_static = nn.Linear(HEADS * SIZE, GROUPS * SIZE, bias=False), is_static

    def forward(self, x, keys, places):
        new = self.key(x).view(BATCH, 1, GROUPS, SIZE).transpose(1, 2)
        both = keys.index_copy(2, places, new) if self.is_static else torch.cat([keys, new], 2)[places]
        queries = x.view(BATCH, 1, HEADS, SIZE).transpose(1, 2)
        shape = (BATCH, GROUPS, HEADS // GROUPS, both.shape[2], SIZE)
        repeated = both[:, :, None].expand(shape).reshape(BATCH, HEADS, both.shape[2], SIZE)
        return queries @ (repeated.transpose(-1, -2) * 0.5), both


@pytest.mark.parametrize("is_static", [True, False])
def test_a_cache_that_is_reordered_or_written_in_place_is_read_once_a_group_from_onnx(is_static, tmp_path):
    cache = torch.zeros(BATCH, GROUPS, CACHED, SIZE)
    places = torch.zeros(1 if is_static else BATCH, dtype=torch.int64)
    example = (torch.zeros(BATCH, 1, HEADS * SIZE), cache, places)
    path = tmp_path / "decoder.onnx"
    torch.onnx.export(Reordered(is_static=is_static), example, str(path), dynamo=False)
    (product,) = [layer for layer in graph_from_file(path).trace().layers if layer.kind == "matmul"]
    assert product.cached_elements == BATCH * GROUPS * (CACHED - is_static) * SIZE
