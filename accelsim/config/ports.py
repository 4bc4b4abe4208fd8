"""What the ports of on-chip buffers must move in a cycle, so that the PE array never waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.config.hardware import BufferConfig, HardwareConfig, PeArrayConfig

PORT_FIELDS = frozenset({"width_bits", "num_banks", "num_ports"})
BUFFERS = ("activation_buffer", "weight_buffer", "accumulator")
"""The buffers beside the PE array."""
LEAST_WEIGHT_BITS = 2  # a ternary weight's mask and sign: no format of many values is narrower
ALL_BUFFERS = ("activation_buffer", "weight_buffer", "mask_buffer", "accumulator")


def streamed_bits(hardware: HardwareConfig) -> dict[str, int]:
    """Return the bits that the array takes from, or hands to, each buffer in a cycle of a long stream.

    A stationary operand is loaded in one row a cycle.
    """
    array, act, acc = hardware.pe_array, hardware.activation_bits, hardware.accumulator_bits
    rows, cols = array.rows, array.cols * array.num_arrays
    if array.dataflow == "weight_stationary":
        elements = rows * array.num_arrays, cols, 2 * cols
    elif array.dataflow == "output_stationary":
        elements = rows, cols, cols
    elif array.dataflow == "input_stationary":
        elements = cols, rows, 2 * cols
    elif array.scratch_pads is not None:  # an input for each diagonal, a sum in and out of each column
        elements = rows + cols - 1, array.scratch_pads.words_per_cycle, 2 * cols
    else:
        elements = _spatial(array)
    return dict(zip(BUFFERS, (elements[0] * act, elements[1] * act, elements[2] * acc), strict=True))


def _spatial(array: PeArrayConfig) -> tuple[int, int, int]:
    def copies(loops: str) -> int:
        product = 1
        for loop, number in array.unroll.items():
            product *= number if loop in loops else 1
        return product

    return copies("NCPQRS"), copies("KCRS"), 2 * copies("NKPQ")


def with_ports(buffer: BufferConfig, bits: int) -> BufferConfig:
    """Return a buffer with the banks that it needs, where its ports are not stated: as much again for its fills."""
    if PORT_FIELDS & buffer.model_fields_set:
        return buffer
    copy = buffer.model_copy(update={"num_banks": max(1, -(-2 * bits // buffer.width_bits))})
    copy.model_fields_set.discard("num_banks")  # derived, not stated: they follow the array when it changes
    return copy


def without_derived_ports(hardware: HardwareConfig) -> dict[str, Any]:
    """Return the fields of a chip as plain values, without the ports that it would derive again from its array."""
    root = hardware.model_dump()
    for name in BUFFERS:
        if not PORT_FIELDS & getattr(hardware, name).model_fields_set:
            root[name] = {field: value for field, value in root[name].items() if field not in PORT_FIELDS}
    return root


def starved(hardware: HardwareConfig) -> Iterator[str]:
    """Yield a line for each buffer whose ports are slower than the array streams."""
    array = hardware.pe_array
    if hardware.memory == "ideal":
        return
    streams = {
        "weight_stationary": BUFFERS,
        "output_stationary": ("activation_buffer", "weight_buffer"),
        "input_stationary": BUFFERS,
        "spatial": ("weight_buffer",) if array.operand_registers else BUFFERS,
        "row_stationary": (),  # PEs use what they hold many times
    }[array.dataflow]
    needed = streamed_bits(hardware)
    if array.dataflow == "spatial" and not array.operand_registers:
        # Weights stay for all positions of a tile, of which a linear layer has one, and may be narrower than inputs.
        needed["weight_buffer"] = needed["weight_buffer"] // hardware.activation_bits * LEAST_WEIGHT_BITS
    for name in streams:
        buffer: BufferConfig = getattr(hardware, name)
        ports = buffer.port_bits_per_cycle
        if ports < needed[name]:
            yield (
                f"{name}: its ports move {ports} bits a cycle, the PE array takes {needed[name]}: it will wait; raise "
                f"{name}.num_banks to {-(-needed[name] * buffer.num_banks // ports)}, or leave width_bits, num_banks "
                "and num_ports out"
            )
