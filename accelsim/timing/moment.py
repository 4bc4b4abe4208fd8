"""The end of a layer, as the next one finds the chip."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from accelsim.timing.memory import CYCLES_OF_MEMORY, oldest_that_matters
from accelsim.timing.schedule import LayerSchedule
from accelsim.timing.stations import COUNTER_OF_KIND, COUNTERS

NUMBER = {name: number for number, name in enumerate(COUNTERS)}
STATIONS = ("dma", "mask_decoder", "weight_generator", "pe_array", "vector_unit", "sequencer")


@dataclass(frozen=True, slots=True)
class Moment:
    """The end of a layer, in cycles: what the next layer begins with. All but ``end_cycle`` counts from the end.

    Attributes
    ----------
    end_cycle
        The layer's end: its outputs have left.
    free
        When each station had ended its last event, in the order of `STATIONS`.
    reached
        Of each counter, the cycles of its last values: the last entry is that of all that has been raised so far.
    memory
        The row of the simple memory (see `accelsim.timing.memory`); empty before the first layer.
    moved_bytes
        By kind of request, of all layers so far.
    schedule
        The layer that has ended; None at the beginning of a network.
    """

    end_cycle: int = 0
    free: tuple[int, ...] = (0,) * len(STATIONS)
    reached: tuple[tuple[int, ...], ...] = ((0,),) * len(COUNTERS)
    memory: tuple[int, ...] = ()
    moved_bytes: tuple[int, ...] = (0,) * len(COUNTER_OF_KIND)
    schedule: LayerSchedule | None = None
    known_state: tuple[Hashable, ...] | None = field(default=None, compare=False, repr=False)

    def shifted(self, cycles: int) -> Moment:
        """Return the same moment some cycles later."""
        end = self.end_cycle + cycles
        return Moment(end, self.free, self.reached, self.memory, self.moved_bytes, self.schedule, self.known_state)

    def state(self) -> tuple[Hashable, ...]:
        """Return what decides about the next layer: equal states are followed by equal times.

        Nothing of the next layer begins before the last request was issued and the array had taken its last weights;
        what ended earlier is as good as ended then.
        """
        if self.known_state is not None:
            return self.known_state
        floor = min(self.free[STATIONS.index("dma")], self.reached[NUMBER["taken"]][-1])
        memory = list(self.memory)
        for place in CYCLES_OF_MEMORY if memory else ():
            memory[place] = max(memory[place], floor - oldest_that_matters(self.memory))
        occupied = self.schedule.occupancy_bytes.get("weight_buffer", 0) if self.schedule is not None else -1
        state = (
            tuple(max(cycle, floor) for cycle in self.free),
            tuple(tuple(max(cycle, floor) for cycle in cycles) for cycles in self.reached),
            tuple(memory[:-1]), occupied,
        )  # fmt: skip
        object.__setattr__(self, "known_state", state)  # asked for at every layer of every token
        return state
