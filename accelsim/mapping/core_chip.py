"""The chip as one of several cores sees it, for the mapper: its share of what it has with the others."""

from __future__ import annotations

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.mapping.task import LayerTask
from accelsim.timing.core_pieces import Alike


def core_chip(
    hardware: HardwareConfig, share: int, alike: Alike | None, num_active: int | None = None
) -> HardwareConfig:
    """Return the chip as one of its cores sees it, for the mapper.

    Parameters
    ----------
    share
        Cores among which the memory's bandwidth is divided.
    alike
        What the cores need alike: it takes its place in a shared buffer once. None: no other core works.
    num_active
        Cores that have a part of a shared buffer each where they need different things; None: all.
    """
    number = num_active or hardware.num_cores
    changed: dict[str, object] = {"num_cores": 1, "share": [], "core_network": None}
    if share > 1 and hardware.dma.activation_codec == "none":  # a coded schedule has the link's own cycles
        rate = hardware.dram.data_rate_mtps / share
        # A part of a memory has no timing table: what is solved on the way to a choice has the simple model.
        changed["dram"] = hardware.dram.model_copy(update={"data_rate_mtps": rate, "model": "simple"})
    if "mask_buffer" in hardware.share and alike not in ("weights", None):
        changed["mask_buffer"] = _part_of_buffer(hardware.mask_buffer, number, "mask_decoder" in hardware.share)
    if "activation_buffer" in hardware.share and alike not in ("inputs", None):
        changed["activation_buffer"] = _part_of_buffer(hardware.activation_buffer, number, False)
    return _with_parts(hardware, changed)


def _part_of_buffer(buffer: BufferConfig, number: int, has_turns: bool) -> BufferConfig:
    """Return what a core has of a shared buffer in which each core keeps its own: room, and ports but in its turn."""
    bits = None if has_turns else max(1, buffer.port_bits_per_cycle // number)
    changed = {"capacity_bytes": max(16, buffer.capacity_bytes // number)}
    return buffer.model_copy(update=changed if bits is None else {**changed, "bus_bits_per_cycle": bits})


def _with_parts(hardware: HardwareConfig, changed: dict[str, object]) -> HardwareConfig:
    """Return the chip with a core's parts; sums that lie in the activation buffer have no more room than that has."""
    part = changed.get("activation_buffer")
    if hardware.sums_in_activation_buffer and isinstance(part, BufferConfig):
        own = {"capacity_bytes": part.capacity_bytes}
        changed = {**changed, "accumulator": hardware.accumulator.model_copy(update=own)}
    return hardware.model_copy(update=changed)


def tenant_chip(hardware: HardwareConfig, number: int) -> HardwareConfig:
    """Return the chip as a network on some of its cores sees it: with its part of the buffers that all cores share."""
    changed: dict[str, object] = {"num_cores": number}
    for name in ("mask_buffer", "activation_buffer"):
        if name in hardware.share:
            buffer: BufferConfig = getattr(hardware, name)
            part = {
                "capacity_bytes": max(16, buffer.capacity_bytes * number // hardware.num_cores),
                "bus_bits_per_cycle": max(1, buffer.port_bits_per_cycle * number // hardware.num_cores),
            }
            changed[name] = buffer.model_copy(update=part)
    return _with_parts(hardware, changed)


def with_turns(chip: HardwareConfig, hardware: HardwareConfig, number: int) -> HardwareConfig:
    """Return a core's chip with shared units as slow as they are to one of several cores that they serve in turn.

    Each tile takes so many times as long; its lanes stay, since a tile of few filters has no more streams than these.
    The generator's rate is a fraction then, which the closed form takes, and no schedule.
    """
    changed: dict[str, object] = {}
    generator, decoder = chip.weight_generator, chip.mask_decoder
    if "weight_generator" in hardware.share and generator is not None:
        times: dict[str, float] = {name: getattr(generator, name) * number for name in ("seed_cycles", "jump_cycles")}
        times["words_per_lane_per_cycle"] = generator.words_per_lane_per_cycle / number
        changed["weight_generator"] = generator.model_copy(update=times)
    if "mask_decoder" in hardware.share and decoder is not None:
        rates = {
            name: max(1, getattr(decoder, name) // number) for name in ("positions_per_cycle", "symbols_per_cycle")
        }
        changed["mask_decoder"] = decoder.model_copy(update=rates)
    return chip.model_copy(update=changed)


def compulsory_bytes(part: LayerTask, alike: Alike) -> tuple[float, float]:
    """Return the bytes that a part must at least move: of what the parts have alike, and of the rest."""
    weights = part.traffic_bits.total / 8 + part.second_dram_bits / 8
    inputs = part.dram_input_elements * part.activation_bits / 8
    outputs = part.memory_outputs * int(part.output_to_dram) * part.output_bits / 8
    rest = outputs + part.residual_dram_elements * part.activation_bits / 8
    return (weights, inputs + rest) if alike == "weights" else (inputs, weights + rest)
