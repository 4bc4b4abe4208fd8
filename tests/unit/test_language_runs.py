"""Runs of language models: time, traffic and tokens against arithmetic, and blocks that stand for others."""

import json
import os
from dataclasses import replace

import pytest

from accelsim import pipeline
from accelsim.config.loader import load_hardware
from accelsim.config.memory_device import device_of
from accelsim.dse.closed_form import estimate
from accelsim.limits import with_limits
from accelsim.pipeline import run, simulate
from accelsim.ticket.zoo.decoders import list_decoders
from accelsim.timing.power_states import refresh_ns
from accelsim.trace import TraceOptions, trace_workload

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
SMALL = {
    "model_type": "llama", "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 7, "num_attention_heads": 8,
    "num_key_value_heads": 2, "intermediate_size": 320, "max_position_embeddings": 512,
}  # fmt: skip
TICKET = {"sparsity": 0.5, "prune_ratio": 0.35, "lock_ratio": 0.35}


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps(SMALL))
    return lambda **options: trace_workload(str(path), TraceOptions(**options))


PLACES = [("edge_llm", "dense-int8", 8), ("phone_lpddr5x", "int4-g128", 16)]
TOKENS = [(shape, *PLACES[number % 2]) for number, shape in enumerate(list_decoders())]


@pytest.mark.parametrize(
    ("shape", "chip", "storage", "kv_bits"), TOKENS, ids=lambda value: getattr(value, "name", None)
)
def test_a_token_takes_what_its_weights_and_its_cache_take_of_the_memory(shape, chip, storage, kv_bits):
    hardware, context = load_hardware(chip, []), 1000
    dram = hardware.config.dram
    interval_ns, refresh = refresh_ns(dram, device_of(dram.standard))
    trace = trace_workload(shape.name, TraceOptions(phase="decode", context=context, kv_bits=kv_bits))
    totals = run(hardware, trace, storage).totals
    # Weights with scales and the output layer: all but looked-up rows, and of a mixture two experts of eight.
    layers = [layer for layer in trace.layers if layer.kind == "linear"]
    bits = {"dense-int8": 8, "int4-g128": 4.125}[storage]
    weights = sum(layer.dims.num_weights for layer in layers) * bits / 8
    cache = shape.cached_per_token * (context + 1) * kv_bits / 8
    floor_s = (weights + cache) / (dram.peak_bytes_per_ns * 1e9 * (1 - refresh / interval_ns))
    assert floor_s <= totals.latency_s <= 1.03 * floor_s
    assert totals.dram_bytes.kv_read == shape.cached_per_token * context * kv_bits / 8
    assert totals.dram_bytes.kv_write == shape.cached_per_token * kv_bits / 8
    assert totals.tokens_per_s == pytest.approx(1 / totals.latency_s)


@pytest.mark.parametrize(
    ("name", "network"),
    # filters that fill no power of two of lanes; short layers, whose stored bits come while the one before works
    [("edge_llm", "qwen2_5_1_5b"), ("phone_lpddr5x", "gpt2_large")],
)
def test_a_ticket_waits_for_the_memory_alone(name, network):
    trace = trace_workload(network, TraceOptions(phase="decode", context=1000, **TICKET))
    chip = load_hardware(name, [])
    dram, moved = chip.config.dram, (totals := run(chip, trace, "slt").totals).dram_bytes
    interval_ns, refresh = refresh_ns(dram, device_of(dram.standard))
    stored = moved.mask + moved.seed + moved.scale + moved.weight + moved.kv_read + moved.kv_write
    floor_s = stored / (dram.peak_bytes_per_ns * 1e9 * (1 - refresh / interval_ns))
    # The mapper's first choice; what it chooses in a run takes 1.02 times as long as the memory alone.
    assert floor_s <= totals.latency_s <= 1.035 * floor_s


@pytest.mark.skipif("ACCELSIM_NIGHTLY" not in os.environ, reason="four seconds; make nightly runs it")
def test_the_whole_context_of_a_model_is_a_prompt_of_tens_of_millions_of_tiles(monkeypatch):
    monkeypatch.setattr("accelsim.mapping.mapper.MOST_STEPS", 1 << 12)  # larger layers are mapped without a search
    trace, chip = trace_workload("llama3_2_1b", TraceOptions()), load_hardware("edge_llm", [])
    totals = run(chip, trace, "dense-int8").totals
    assert totals.lower_bound_cycles <= totals.latency_cycles < 1.02 * totals.lower_bound_cycles


@pytest.mark.parametrize(
    ("chip", "storage", "options"),
    [
        ("edge_llm", "dense-int8", {"phase": "decode", "context": 300, "batch": 2}),
        ("edge", "slt", {"phase": "decode", "context": 70, **TICKET}),
        ("edge", "dense-int8", {"phase": "prefill", "prompt": 90}),
        ("phone_lpddr5x", "slt", {"phase": "generate", "prompt": 33, "tokens": 3, **TICKET}),
    ],
)
def test_blocks_that_stand_for_others_give_the_same_as_all_of_them(chip, storage, options, small, monkeypatch):
    hardware, trace = load_hardware(chip, []), small(**options)
    few = simulate(hardware, trace, storage)
    monkeypatch.setattr(pipeline, "repeats", lambda trace, plans, hardware: False)
    every = simulate(hardware, trace, storage)
    # Work for the next layer counts where it was done; the last place of a sum of floats may differ.
    assert few.dram.gaps == every.dram.gaps
    assert few.dram.num_openings == pytest.approx(every.dram.num_openings)
    assert replace(few, dram=None) == replace(every, dram=None)


def test_a_block_that_is_stored_otherwise_is_not_taken_for_a_copy(small):
    trace, hardware = small(phase="decode", context=50), load_hardware("edge_llm", [])
    one = run(hardware, trace, "dense-int8+layers.4.mlp.up_proj=dense-int4")
    bits = {layer.name: layer.stored_bits.weight for layer in one.layers if layer.name.endswith("up_proj")}
    assert sorted(bits.values()) == [4 * 128 * 320] + 6 * [8 * 128 * 320]
    read = {layer.name: layer.dram_bytes.weight for layer in one.layers if layer.name.endswith("up_proj")}
    assert read["layers.4.mlp.up_proj"] < 0.6 * read["layers.5.mlp.up_proj"]


def test_a_generation_is_the_prompt_and_one_decode_a_further_token(small):
    hardware = load_hardware("edge_llm", [])
    whole = run(hardware, small(phase="generate", prompt=60, tokens=5, batch=2), "dense-int8")
    prompt = run(hardware, small(phase="prefill", prompt=60, batch=2), "dense-int8").totals
    steps = [run(hardware, small(phase="decode", context=60 + step, batch=2), "dense-int8").totals for step in range(4)]
    totals, decode_s = whole.totals, sum(step.latency_s for step in steps)
    assert totals.latency_cycles == prompt.latency_cycles + sum(step.latency_cycles for step in steps)
    assert totals.dram_bytes.kv_read == prompt.dram_bytes.kv_read + sum(step.dram_bytes.kv_read for step in steps)
    assert totals.energy_j == pytest.approx(prompt.energy_j + sum(step.energy_j for step in steps), rel=1e-4)
    assert totals.time_to_first_token_s == prompt.time_to_first_token_s == pytest.approx(prompt.latency_s)
    assert totals.tokens_per_s == pytest.approx(2 * 4 / decode_s)
    assert totals.energy_j_per_token == pytest.approx(totals.energy_j / (2 * 5))
    assert (whole.workload.phase, whole.workload.context_length, whole.workload.batch) == ("generate", 64, 2)
    assert steps[0].time_to_first_token_s is None


def test_each_step_of_a_generation_fetches_the_experts_that_its_tokens_hit(tmp_path):
    path = tmp_path / "mixture.json"
    path.write_text(json.dumps(SMALL | {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}))
    hardware = load_hardware("edge_llm", [])

    def read(**options):
        return run(hardware, trace_workload(str(path), TraceOptions(**options)), "dense-int8").totals.dram_bytes.weight

    whole = read(phase="generate", prompt=20, tokens=3)
    steps = [read(phase="decode", context=20), read(phase="decode", context=21)]
    assert whole == read(prompt=20) + sum(steps)
    assert steps[0] < 0.6 * read(prompt=20)


def test_a_batch_reads_weights_once_and_each_sequence_its_own_cache(small):
    hardware = load_hardware("edge_llm", ["mapping.keep_activations_on_chip=true"])
    one, eight = (
        run(hardware, small(phase="decode", context=300, batch=batch), "dense-int8").totals for batch in (1, 8)
    )
    assert eight.dram_bytes.weight == pytest.approx(one.dram_bytes.weight, rel=0.002)
    assert eight.tokens_per_s > 3 * one.tokens_per_s


def test_the_ticket_of_a_decoder_moves_its_masks_once_a_token():
    hardware = load_hardware("edge_llm", ["activation_buffer.capacity_bytes=65536"])
    totals = run(hardware, trace_workload("decoder_slt_f70", TraceOptions(phase="decode", context=100)), "slt").totals
    stored, burst = totals.stored_bits.mask / 8, hardware.config.dram.burst_bytes
    assert stored <= totals.dram_bytes.mask <= stored + 32 * burst  # each of 32 matrices in whole bursts
    assert totals.dram_bytes.kv_read == 2 * 5 * 128 * 100
    assert totals.dram_bytes.kv_write == 2 * 5 * 128
    answer = trace_workload("decoder_slt_f70", TraceOptions(phase="generate", prompt=98, tokens=4))
    steps = [trace_workload("decoder_slt_f70", TraceOptions(phase="decode", context=98 + step)) for step in range(3)]
    prompt = trace_workload("decoder_slt_f70", TraceOptions(prompt=98))
    parts = [run(hardware, trace, "slt").totals.latency_cycles for trace in (prompt, *steps)]
    assert run(hardware, answer, "slt").totals.latency_cycles == sum(parts)


def test_a_cache_that_fits_half_the_buffer_stays_on_chip(small):
    trace = small(phase="decode", context=300)  # 2 x 7 x 32 x 301 bytes: 135 kB
    for size, read in ((524_288, 0), (262_144, 2 * 7 * 32 * 300)):
        hardware = load_hardware("edge_llm", [f"activation_buffer.capacity_bytes={size}"])
        totals = run(hardware, trace, "dense-int8").totals
        assert (totals.dram_bytes.kv_read, totals.dram_bytes.kv_write) == (read, 2 * 7 * 32 if read else 0)


def test_the_verdict_says_when_the_array_is_the_limit(small):
    trace = trace_workload("llama3_2_1b", TraceOptions(phase="decode", context=512))
    found = {}
    for chip in ("cloud_hbm", "edge_llm"):  # a weight-stationary array fills itself for one position
        hardware = load_hardware(chip, [])
        limits = with_limits(simulate(hardware, trace, "dense-int8"), hardware.config, trace).limits
        latency = sum(layer.latency_cycles for layer in simulate(hardware, trace, "dense-int8").layers)
        found[chip] = {name: limit.latency_cycles_with_twice / latency for name, limit in limits.items()}
    assert found["cloud_hbm"]["pe_array"] < 0.7 < found["cloud_hbm"]["memory_bandwidth"]
    assert found["edge_llm"]["memory_bandwidth"] < 0.6 < found["edge_llm"]["pe_array"]


@pytest.mark.parametrize(
    "options", [{"phase": "decode", "context": 300}, {"phase": "generate", "prompt": 60, "tokens": 4}]
)
def test_the_closed_form_is_near_the_simulation(options, small):
    hardware, trace = load_hardware("edge_llm", []), small(**options)
    row, totals = estimate(hardware.config, trace, "dense-int8"), run(hardware, trace, "dense-int8").totals
    assert row["latency_s"] == pytest.approx(totals.latency_s, rel=0.15)
    assert row["tokens_per_s"] == pytest.approx(totals.tokens_per_s, rel=0.15)
    assert row["stored_bits"] == sum(totals.stored_bits.model_dump().values())
