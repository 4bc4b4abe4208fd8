"""Random chips: every field that the model has, latencies to 1 us, each kind of memory."""

import random
from typing import Any

from accelsim.config.dram import TIMING_STANDARDS
from accelsim.config.hardware import HardwareConfig
from accelsim.config.memory_device import load_device

LONGEST_NS = 1000  # of every latency
MEMORIES = ["ideal"] + ["simple"] * 10 + ["split"] * 3 + ["timing"]  # that of a device takes ten times as long
ADDRESS_MAPPINGS = ["robabgracoch", "rochrababgco", "rocorababgch"]


def drawn_chip(draw: random.Random) -> HardwareConfig:
    clock_mhz = draw.choice([200.0, 333.0, 500.0, 1000.0])

    def latency(*usual: int, least: int = 0) -> int:
        """Return a latency in cycles: a usual one, or any up to that of `LONGEST_NS`."""
        longest = int(LONGEST_NS * clock_mhz / 1000)
        return draw.choice(usual) if draw.random() < 0.6 else _spread(draw, longest, least)

    def buffer(low: int, high: int) -> dict[str, object]:
        return {
            "capacity_bytes": int(2 ** draw.uniform(low, high)), "width_bits": draw.choice([16, 64, 256]),
            "num_banks": draw.choice([1, 4]), "num_ports": draw.choice([1, 1, 2]),
            "double_buffered": draw.random() < 0.6,
        }  # fmt: skip

    values: dict[str, object] = {
        "name": "random",
        "clock_mhz": clock_mhz,
        "node_nm": 22,
        "activation_bits": draw.choice([8, 8, 8, 4, 16]),
        "accumulator_bits": draw.choice([32, 32, 16]),
        **_memory(draw),
        "pe_array": _array(draw) | {"pipeline_latency_cycles": latency(0, 3)},
        "activation_buffer": buffer(10, 15),
        "weight_buffer": buffer(8, 13),
        "mask_buffer": buffer(6, 11),
        "accumulator": buffer(8, 13),
        "weight_generator": {
            "kind": draw.choice(["xorshift32", "philox4x32", "lfsr16", "lfsr32"]),
            "num_lanes": draw.choice([1, 4, 32]),
            "words_per_lane_per_cycle": draw.choice([1, 1, 4]),
            "weights": draw.choice(["regenerate", "buffer"]),
            "latency_cycles": latency(0, 2, 50),
            "seed_cycles": latency(0, 1, 9),
            "jump_cycles": latency(1, 32, least=1),
        },
        "mask_decoder": {
            "positions_per_cycle": draw.choice([1, 16, 64]),
            "symbols_per_cycle": draw.choice([1, 8]),
            "latency_cycles": latency(0, 4, 40),
        },
        "vector_unit": {"num_lanes": draw.choice([1, 8, 64]), "latency_cycles": latency(0, 4, 30)},
        "mapping": {
            "keep_activations_on_chip": draw.random() < 0.5,
            "prefetch_next_layer": draw.random() < 0.6,
        },
    }
    return HardwareConfig.model_validate(values)


def with_more(draw: random.Random, hardware: HardwareConfig) -> HardwareConfig:
    """Return a chip with some of the rarer fields."""
    values = hardware.model_dump(exclude_unset=True)
    array = values["pe_array"]
    array["call_cycles"] = draw.choice([0, 0, 50, 700])
    if array["dataflow"] in ("weight_stationary", "input_stationary"):
        array["fold_taps"] = draw.choice([True, False, "row"])
    if array.get("weight_preload") and array["preload_with"] == "instruction":
        array |= {"min_instruction_rows": draw.choice([1, 3]), "instruction_interval_cycles": draw.choice([1.0, 2.6])}
    is_plain = array["dataflow"] == "weight_stationary" and array["preload_with"] == "fold"
    if is_plain and "skip" not in (array["zero_weights"], array["zero_activations"]):
        array["num_arrays"] = draw.choice([1, 2, 3])
    values["dma"] = {"request_cycles": draw.choice([0, 3]), "loads_ahead": draw.random() < 0.5}
    if draw.random() < 0.3:
        _make_row_stationary(draw, array)
    elif array["dataflow"] == "spatial":
        array["distribution_words_per_cycle"] = draw.choice([None, 2, 8])
        if "K" not in array["unroll"]:
            array |= {"zero_weights": "skip", "zero_activations": "gate", "skip_group": "packed"}
    _share_buffers(draw, values)
    values["vector_unit"]["rereads_inputs"] = draw.random() < 0.5
    values["dram"]["num_outstanding_requests"] = draw.choice([None, 1, 4])
    if values["dram"].get("model") != "timing" and draw.random() < 0.5:
        values["cache"] = {
            "capacity_bytes": draw.choice([1024, 8192]), "line_bytes": draw.choice([16, 64]),
            "num_ways": draw.choice([1, 4]), "width_bits": draw.choice([32, 256]),
        }  # fmt: skip
    elif draw.random() < 0.7:
        values["dma"] |= {"activation_codec": "rle", "codec_elements_per_cycle": draw.choice([1, 8])}
        values["activation_bits"] = 16  # half of the activations are zero: the code of narrower ones is no shorter
    return HardwareConfig.model_validate(values)


def _make_row_stationary(draw: random.Random, array: dict[str, object]) -> None:
    pads = ("input_words", "weight_words", "sum_words", "words_per_cycle")
    kept = {name: array[name] for name in ("rows", "cols", "call_cycles", "pipeline_latency_cycles")}
    array.clear()
    array |= kept | {"dataflow": "row_stationary", "scratch_pads": {name: draw.choice([1, 4, 24]) for name in pads}}
    array["zero_weights"] = draw.choice(["none", "gate"])


def _share_buffers(draw: random.Random, values: dict[str, Any]) -> None:
    """Let PEs copy weights, buffers have a bus, and partial sums lie in the activation buffer, now and then."""
    values["weight_buffer"]["is_copied"] = draw.random() < 0.3
    for name in ("activation_buffer", "weight_buffer", "accumulator"):
        values[name]["bus_bits_per_cycle"] = draw.choice([None, None, 32])
    if draw.random() < 0.3:
        shared = {"capacity_bytes": values["activation_buffer"]["capacity_bytes"], "double_buffered": False}
        values["activation_buffer"] |= shared | {"num_banks": draw.choice([2, 8])}
        values["accumulator"] |= shared
        values["sums_in_activation_buffer"] = True


def _spread(draw: random.Random, most: int, least: int = 0) -> int:
    """Return a number up to ``most``, of any magnitude."""
    return max(least, min(most, int((most + 1) ** draw.random()) - (draw.random() < 0.1)))


def _array(draw: random.Random) -> dict[str, object]:
    dataflow = draw.choice(["weight_stationary", "output_stationary", "input_stationary", "spatial"])
    array: dict[str, object] = {
        "dataflow": dataflow, "rows": draw.choice([2, 4, 8]), "cols": draw.choice([2, 4, 8]),
        "zero_weights": draw.choice(["none", "gate", "skip"]),
        "zero_activations": draw.choice(["none", "gate", "skip"]),
        "skip_group": draw.choice(["rows", "columns", "array"]),
    }  # fmt: skip
    if dataflow == "spatial":
        array["unroll"] = draw.choice(
            [{"K": 4, "C": 4}, {"K": 2, "C": 2, "P": 2, "Q": 2}, {"C": 4, "R": 3}, {"N": 2, "K": 4}]
        )
        array["operand_registers"] = draw.random() < 0.3
    if dataflow == "weight_stationary":
        array["weight_preload"] = draw.random() < 0.5
        array["preload_with"] = draw.choice(["fold", "instruction"])
    return array


def _memory(draw: random.Random) -> dict[str, object]:
    """Return the fields ``memory`` and ``dram`` of a chip, for each kind of memory that there is."""

    def latency_ns(*usual: float) -> float:
        return draw.choice(usual) if draw.random() < 0.4 else float(_spread(draw, 10 * LONGEST_NS)) / 10

    kind = draw.choice(MEMORIES)
    dram: dict[str, object] = {
        "num_channels": draw.choice([1, 1, 2]),
        "data_rate_mtps": draw.choice([200.0, 800.0, 3200.0]),
        "bus_width_bits": draw.choice([8, 32]),
        "burst_bytes": draw.choice([8, 64]),
        "read_latency_ns": latency_ns(0.0, 50.0, 1000.0),
        "write_latency_ns": latency_ns(0.0, 20.0, 1000.0),
        "turnaround_ns": latency_ns(0.0, 10.0, 1000.0),
        "separate_write_bus": kind == "split",
    }
    if kind == "timing":
        dram |= _timing_dram(draw)
    if kind != "ideal":
        dram |= _sleep(random.Random(str(dram)), is_timing=kind == "timing")  # leaves the draws of all else as they are
    return {"memory": "ideal" if kind == "ideal" else "dram", "dram": dram}


def _sleep(draw: random.Random, is_timing: bool) -> dict[str, object]:
    """Return what a memory does between requests, and now and then a controller that serves in order."""
    own: dict[str, object] = {
        "power_down_after_ns": draw.choice([None, 0.0, 30.0, 640.0]),
        "power_down_kind": draw.choice(["precharge", "active"]),
        "self_refresh_after_ns": draw.choice([None, None, 100.0, 3000.0]),
    }
    if own["power_down_after_ns"] == 640.0 and own["self_refresh_after_ns"] == 100.0:
        # Refused: no power-down would come.
        own["self_refresh_after_ns"] = 3000.0
    if is_timing and draw.random() < 0.25:
        own |= {"controller": "in_order", "page_policy": "open"}
    return own


def _timing_dram(draw: random.Random) -> dict[str, object]:
    """Return a memory with the timing of a standard: one device on the bus of a channel."""
    standard = draw.choice(TIMING_STANDARDS)
    device = load_device(standard)
    organisation, timing = device.organisation, device.timing
    refreshes = ["all_bank", "none"] + ["per_bank"] * (timing.refi_bank_cycles > 0)
    # Activates in two commands, as LPDDR5 has them, are refused with a queue per bank.
    controllers = ["shared_queues"] + ["bank_queues"] * (timing.split_activate_cycles == 0)
    return {
        "model": "timing", "standard": standard,
        "bus_width_bits": organisation.num_pseudo_channels * organisation.device_width_bits,
        "burst_bytes": organisation.device_width_bits * organisation.burst_length // 8,
        "data_rate_mtps": organisation.burst_length / timing.burst_cycles / device.tck_ns * 1000,
        "num_ranks": draw.choice([1, 1, 2]), "address_mapping": draw.choice(ADDRESS_MAPPINGS),
        "address_xor": draw.choice(["none", "column"]), "controller": draw.choice(controllers),
        "page_policy": draw.choice(["open", "closed"]), "refresh": draw.choice(refreshes),
        "num_read_queue_entries": draw.choice([4, 32]), "num_write_queue_entries": draw.choice([4, 32]),
    }  # fmt: skip
