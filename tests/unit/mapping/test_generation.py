"""The generator's work against a word-by-word walk along the streams as `accelsim.prng` defines them."""

import random
from dataclasses import dataclass, field
from math import ceil

import numpy as np
import pytest

from accelsim.config.hardware import WeightGeneratorConfig
from accelsim.mapping.generation import TileRange, generation_work
from accelsim.prng.source import RandomSource

SHAPE = (12, 5, 3, 3)
FILTERS, PER_FILTER = 12, 45
WORD_BITS = {"xorshift32": 32, "lfsr16": 16, "philox4x32": 32}


@dataclass
class Walker:
    """One lane after another, one word after another; streams are (number, domain)."""

    source: RandomSource
    generator: WeightGeneratorConfig
    num_places: int | None = None  # weights that the decoder takes in a cycle
    state: dict[int, dict[int, int]] = field(default_factory=dict)  # stream -> domain -> words made of it
    words: int = 0
    discarded: int = 0
    seeds: int = 0
    jumps: int = 0
    cycles: int = 0

    def streams(self, tile: tuple[int, int, int, int]) -> dict[int, list[tuple[int, int]]]:
        """Return stream -> ranges of its weights that the tile takes."""
        per_stream = {"layer": FILTERS, "filter": 1, "tile": self.source.tile_filters}[self.source.stream]
        found: dict[int, list[tuple[int, int]]] = {}
        for filter_ in range(tile[0], tile[0] + tile[1]):
            first = (filter_ % per_stream) * PER_FILTER + tile[2]
            found.setdefault(filter_ // per_stream, []).append((first, first + tile[3]))
        return found

    def domains(self) -> list[tuple[int, int]]:
        """Return fields a weight takes and fields in a word, of the weights and of the freezing map."""
        bits = WORD_BITS[self.source.generator]
        terms = self.source.normal_terms if self.source.weights == "normal" else 1
        return [(terms, bits // self.source.weight_bits), (1, bits // self.source.threshold_bits)]

    def one_pass(self, tile: tuple[int, int, int, int]) -> None:
        streams = self.streams(tile)
        held = set(streams) == set(self.state) and len(streams) <= self.generator.num_lanes
        state: dict[int, dict[int, int]] = {}
        times = []
        for place, (stream, ranges) in enumerate(streams.items()):
            jumps = 0
            state[stream] = {}
            seeded = False
            to_make: list[list[int]] = []  # of each domain: the words stepped along, thrown away or not
            for domain, (terms, fields) in enumerate(self.domains()):
                needed: list[int] = []
                for first, end in ranges:
                    for word in range(first * terms // fields, ceil(end * terms / fields)):
                        if word not in needed:
                            needed.append(word)
                made = self.state[stream][domain] if held else 0
                if held and needed[0] == made - 1:
                    needed = needed[1:]  # still in the register
                elif held and needed[0] < made or not held:
                    made, seeded = 0, True
                    self.seeds += 1
                    jumps += self.source.seeds == "jump"
                to_make.append([])
                for word in needed:
                    gap = word - made
                    if (
                        self.source.seeds == "jump"
                        and gap > self.generator.jump_cycles * self.generator.words_per_lane_per_cycle
                    ):
                        jumps += 1
                    else:
                        self.discarded += gap
                        to_make[-1] += range(made, word)
                    self.words += 1
                    to_make[-1].append(word)
                    made = word + 1
                state[stream][domain] = made
            self.jumps += jumps
            first_of_round = place - place % self.generator.num_lanes
            in_use = min(self.generator.num_lanes, len(streams) - first_of_round)
            cycles = self.walk(to_make, ranges, in_use) + jumps * self.generator.jump_cycles
            times.append(cycles + seeded * self.generator.seed_cycles)
        lanes = self.generator.num_lanes
        self.cycles += sum(max(times[first : first + lanes]) for first in range(0, len(times), lanes))
        self.state = state

    def walk(self, to_make: list[list[int]], ranges: list[tuple[int, int]], in_use: int) -> int:
        """Return the cycles of a lane that steps one domain in a cycle, and whose weights leave as soon as they can."""
        rate, domains = self.generator.words_per_lane_per_cycle, self.domains()
        if self.num_places is None:
            return sum(ceil(len(words) / rate) for words in to_make)
        finest = min(range(len(domains)), key=lambda domain: domains[domain][1] / domains[domain][0])
        share = self.num_places // 2 ** (in_use - 1).bit_length()
        width = max(1, min(share, domains[finest][1] * rate // domains[finest][0]))
        turn = 1 if share else ceil(in_use / self.num_places)
        cycles, at, (end,) = 0, ranges[0][0], {end for _, end in ranges}
        while at < end:
            following = min(end, at - at % width + width)
            steps = 0
            for domain, (terms, fields) in enumerate(domains):
                words, last = to_make[domain], ceil(following * terms / fields)
                while words and words[0] < last:  # the finest domain is not stepped ahead of what leaves
                    ahead = [word for word in words[:rate] if domain != finest or word < last]
                    del words[: len(ahead)]
                    steps += 1
            cycles += max(1, steps) + turn - 1
            at = following
        return cycles


def tiles(draw: random.Random) -> list[tuple[int, int, int, int]]:
    """Return tiles (first filter, filters, first weight, weights) of a nest over filters and channels, in either
    order.
    """
    filters, channels = draw.choice([1, 2, 3, 4, 5, 12]), draw.choice([1, 2, 3, 5])
    outer = [(first, min(filters, FILTERS - first)) for first in range(0, FILTERS, filters)]
    inner = [(9 * first, 9 * min(channels, 5 - first)) for first in range(0, 5, channels)]
    if draw.random() < 0.5:
        return [(*one, *other) for one in outer for other in inner]
    return [(*one, *other) for other in inner for one in outer]


@pytest.mark.parametrize("seed", range(60))
def test_sequential_generators_step_word_by_word(seed: int) -> None:
    draw = random.Random(seed)
    weights, bits, terms = draw.choice([("signed_constant", 1, 1), ("uniform", 4, 1), ("normal", 4, 3)])
    source = RandomSource(
        generator=draw.choice(["xorshift32", "lfsr16"]), stream=draw.choice(["layer", "filter", "tile"]),
        seeds=draw.choice(["stored", "derived", "jump"]), weights=weights, weight_bits=bits, normal_terms=terms,
        threshold_bits=draw.choice([8, 16]), prune_threshold=100, lock_threshold=200,
        tile_filters=draw.choice([2, 3, 5]),
    )  # fmt: skip
    generator = WeightGeneratorConfig(
        kind=source.generator, num_lanes=draw.choice([1, 2, 4, 32]), words_per_lane_per_cycle=draw.choice([1, 2]),
        seed_cycles=draw.choice([0, 3]), jump_cycles=draw.choice([1, 4, 32]),
    )  # fmt: skip
    order, passes = tiles(draw), draw.choice([1, 2, 3])
    # Exact for one stretch of weights a stream, and where words of one domain begin with words of the other.
    is_exact = source.stream == "filter" and weights != "normal"
    places = draw.choice([None, 1, 3, 8, 64]) if is_exact else None

    def walked(num_lanes: int) -> Walker:
        walker = Walker(source, generator.model_copy(update={"num_lanes": num_lanes}), places)
        for tile in order:
            for _ in range(passes):
                walker.one_pass(tile)
        return walker

    walker, lanes = walked(generator.num_lanes), generator.num_lanes // 2
    while places is not None and lanes:
        walker, lanes = min(walker, walked(lanes), key=lambda one: one.cycles), lanes // 2
    columns = [np.array(values, dtype=np.int64) for values in zip(*order, strict=True)]
    work = generation_work(source, SHAPE, generator, TileRange(*columns), np.full(len(order), passes), None, places)
    assert int(work.words.sum()) == walker.words
    assert int(work.discarded_words.sum()) == walker.discarded
    assert int(work.jumps.sum()) == walker.jumps
    assert int(work.seeds.sum()) == (walker.seeds if source.seeds == "derived" else 0)
    assert int(work.cycles.sum()) == walker.cycles


def test_a_counter_based_generator_discards_nothing_and_leaves_out_dropped_words() -> None:
    source = RandomSource(
        generator="philox4x32", stream="layer", threshold_bits=16, prune_threshold=9, lock_threshold=10
    )
    generator = WeightGeneratorConfig(kind="philox4x32", num_lanes=4, seed_cycles=0)
    order = [(filter_, 3, 9 * channel, 9) for channel in range(5) for filter_ in range(0, 12, 3)]
    columns = [np.array(values, dtype=np.int64) for values in zip(*order, strict=True)]
    work = generation_work(source, SHAPE, generator, TileRange(*columns), np.ones(20, dtype=np.int64))
    words = 0
    for filter_, filters, first, count in order:
        for fields in (32, 2):
            ranges = [
                ((f * 45 + first) // fields, ceil((f * 45 + first + count) / fields))
                for f in range(filter_, filter_ + filters)
            ]
            words += len({word for begin, end in ranges for word in range(begin, end)})
    assert int(work.words.sum()) == words
    assert int(work.discarded_words.sum()) == 0
    assert int(work.jumps.sum()) == 0
    kept = generation_work(
        source, SHAPE, generator, TileRange(*columns), np.ones(20, dtype=np.int64), kept_fraction=0.01
    )
    assert int(kept.words.sum()) < words
