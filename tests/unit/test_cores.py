"""Several cores: what is divided adds up, what is shared comes once, and nothing becomes slower."""

import json
import os
from dataclasses import replace

import pytest

from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.cores.bound import least_work
from accelsim.cores.pipeline import by_stages
from accelsim.cores.run import Program, best_program, by_layers
from accelsim.costed import run_with_limits, simulate_format
from accelsim.errors import ConfigError, MappingError, SimulationError
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.cores import PARTS, split_task
from accelsim.mapping.loops import Tiling
from accelsim.mapping.network import network_tasks
from accelsim.mapping.residency import Residency
from accelsim.pipeline import layer_plans, network_on_cores, simulate
from accelsim.report.timeline_probe import TimelineProbe
from accelsim.results.schema import check_result
from accelsim.results.store import result_text
from accelsim.sim.cores import core_of_one, end_of_slots
from accelsim.sim.counters import Counters
from accelsim.tenants import run_tenants
from accelsim.ticket.builder import GraphBuilder
from accelsim.timing.cores import build_system, solve_system
from accelsim.timing.stations import Wait
from accelsim.trace import TraceOptions, trace_workload, with_statistics
from accelsim.trace.batch import with_batch
from accelsim.trace.from_graph import trace_graph
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
nightly = pytest.mark.skipif("ACCELSIM_NIGHTLY" not in os.environ, reason="two seconds each; make nightly runs them")
TICKET = TraceOptions(sparsity=0.7, prune_ratio=0.35, lock_ratio=0.15)
SHARED = "share=[weight_generator, mask_decoder, mask_buffer]"


def quad(*overrides: str) -> LoadedHardware:
    """Return four edge cores that share nothing unless it is stated."""
    return load_hardware("edge", ("num_cores=4", *overrides))


def small(**dims: int) -> LayerTrace:
    """Return a network of two layers."""
    first = LoopDims(**{"K": 32, "C": 16, "P": 16, "Q": 16, "R": 3, "S": 3, "H": 16, "W": 16, **dims}, padding=(1, 1))
    second = replace(first, K=64, C=first.K)

    def layer(name: str, dims: LoopDims, source: str) -> TraceLayer:
        shape = (dims.K, dims.C, 3, 3)
        number = dims.K * dims.C * 9
        weights = LayerWeights(shape, num_kept=number, num_free=number)
        return TraceLayer(name, "conv2d", dims, (source,), num_outputs=dims.num_outputs, weights=weights)

    return LayerTrace("small", (layer("one", first, "input"), layer("two", second, "one")), "dense")


def deep() -> LayerTrace:
    """Return a network of three layers."""
    trace = small()
    last = replace(trace.layers[1], name="three", inputs=("two",), dims=replace(trace.layers[1].dims, C=64))
    shape = (last.dims.K, last.dims.C, 3, 3)
    number = last.dims.num_weights
    weights = LayerWeights(shape, num_kept=number, num_free=number)
    return replace(trace, layers=(*trace.layers, replace(last, weights=weights)))


def latency(counters: Counters) -> int:
    return sum(layer.latency_cycles for layer in counters.layers)


def moved(counters: Counters, *names: str) -> int:
    return sum(layer.dram_bytes[name] for layer in counters.layers for name in names)


@pytest.mark.parametrize("workload", ["resnet18", "mobilenet_v2", "vit_tiny", "dcgan_generator"])
def test_parts_add_up_to_the_layer(workload: str) -> None:
    trace = trace_workload(workload, TICKET)
    plans = layer_plans(trace, "slt")
    chip = core_chip(quad().config, 1, None)
    nowhere = Residency(frozenset(), (0,) * len(trace.layers))
    for task in network_tasks(trace, plans, chip, nowhere):
        for by in PARTS:
            parts = split_task(task, by, 3, trace.num_inputs)
            if parts is None:
                continue
            layers = [part.layer for part in parts]
            assert sum(layer.dims.macs for layer in layers) == task.layer.dims.macs or not task.layer.uses_array
            assert sum(layer.num_outputs for layer in layers) == task.layer.num_outputs
            assert sum(part.residual_elements for part in parts) == task.residual_elements
            if by == "filters" and task.plan is not None and task.layer.uses_array:
                owned = [part.plan for part in parts if part.plan is not None]
                for name in ("mask", "scale", "weight", "index"):
                    parted = sum(getattr(plan.stored_bits, name) for plan in owned)
                    assert parted == getattr(task.plan.stored_bits, name)
                assert {plan.stored_bits.seed for plan in owned} == {task.plan.stored_bits.seed}  # one, derived from
                assert sum(plan.num_nonzero for plan in owned) == task.plan.num_nonzero
            assert all(part.dram_input_elements <= task.dram_input_elements for part in parts)


def test_rows_under_a_part_are_read_with_their_halo() -> None:
    chip, trace = core_chip(quad().config, 1, None), small()
    task = network_tasks(trace, layer_plans(trace, "dense-int8"), chip, Residency(frozenset(), (0, 0)))[0]
    parts = split_task(task, "positions", 4, 1)
    assert parts is not None
    assert [part.layer.dims.H for part in parts] == [5, 6, 6, 5]
    assert [part.dram_input_elements for part in parts] == [16 * 16 * rows for rows in (5, 6, 6, 5)]
    assert [part.layer.dims.padding for part in parts] == [(1, 1), (0, 1), (0, 1), (0, 1)]


def test_a_transposed_convolution_is_divided_by_what_each_of_its_filters_makes() -> None:
    build = GraphBuilder("up", (6, 5, 5))
    build.conv_transpose("two", build.conv_transpose("one", "input", 10, 4, stride=2, padding=1), 5, 2, stride=2)
    trace, chip = with_statistics(trace_graph(build.build()), TICKET), core_chip(quad().config, 1, None)
    one, two = network_tasks(trace, layer_plans(trace, "slt"), chip, Residency(frozenset(), (0, 0)))
    filters = split_task(one, "filters", 3, 1)
    assert filters is not None
    assert [part.layer.dims.K for part in filters] == [4, 3, 3]
    assert [(part.first_weight, part.filter_weights) for part in filters] == [(0, 160), (64, 160), (112, 160)]
    assert [part.layer.num_outputs for part in filters] == [4 * 100, 3 * 100, 3 * 100]
    assert [part.dram_input_elements for part in filters] == [6 * 25] * 3
    assert split_task(one, "positions", 3, 1) is None  # its rows overlap in the output
    rows = split_task(two, "positions", 4, 1)  # of filters of 2 x 2 with stride 2 they do not
    assert rows is not None
    assert [(part.layer.dims.P, part.layer.dims.H, part.layer.num_outputs) for part in rows] == [
        (3, 3, 600), (3, 3, 600), (2, 2, 400), (2, 2, 400)
    ]  # fmt: skip
    assert [part.dram_input_elements for part in rows] == [300, 300, 200, 200]


def test_each_core_with_an_input_takes_the_time_of_one_core_with_one() -> None:
    one, four = load_hardware("edge", ("memory=ideal",)), quad("memory=ideal", "mapping.split=batch")
    trace = small()
    together = simulate(four, with_batch(trace, 4), "dense-int8")
    assert latency(together) == latency(simulate(one, trace, "dense-int8"))
    assert [core.macs for core in together.cores] == [sum(layer.dims.macs for layer in trace.layers)] * 4


@pytest.mark.parametrize(
    ("chip", "workload", "storage"),
    [
        ("edge", "conv2", "slt"),
        pytest.param("edge", "conv4", "dense-int8", marks=nightly),
        ("edge_quad", "conv2", "dense-int8"),
        pytest.param("edge_quad", "workloads/gin_slt_f90.pt", "slt", marks=nightly),
    ],
)
@pytest.mark.filterwarnings("error")  # a chip as one core in turn sees it must not reach a schedule
def test_further_cores_never_make_a_run_slower(chip: str, workload: str, storage: str) -> None:
    trace = trace_workload(workload, TraceOptions() if workload.endswith(".pt") or storage != "slt" else TICKET)
    chips = [load_hardware(chip, (f"num_cores={number}", "mapping.objective=latency")) for number in (2, 3, 4, 5)]
    one = simulate(LoadedHardware(core_chip(chips[0].config, 1, None), "", ""), trace, storage)
    found = [latency(one), *(latency(simulate(several, trace, storage)) for several in chips)]
    assert found == sorted(found, reverse=True)


def test_a_bound_is_never_beaten() -> None:
    for overrides in ((), ("mapping.schedule=pipeline",), ("share=[activation_buffer]",), ("memory=ideal",)):
        counters = simulate(quad(*overrides), with_batch(small(), 3), "dense-int8")
        assert counters.lower_bound_cycles is not None
        assert 0 < counters.lower_bound_cycles <= latency(counters), overrides


@pytest.mark.parametrize("network", ["{}", "null"])
def test_keys_and_values_on_chip_are_in_no_bound_and_on_no_network(network: str) -> None:
    slow = ("dram.data_rate_mtps=400", "dram.bus_width_bits=16")
    options = TraceOptions(phase="decode", context=100)
    for overrides in (("num_cores=2",), ("num_cores=2", "mapping.split=filters")):
        chip = load_hardware("edge", (*slow, *overrides, f"core_network={network}"))
        counters = simulate(chip, trace_workload("workloads/decoder_slt_f50.pt", options), "slt")
        assert counters.lower_bound_cycles is not None
        assert counters.lower_bound_cycles <= latency(counters)
        is_read = any(layer.dram_bytes["kv_read"] for layer in counters.layers)
        works_alone = sum(core.macs > 0 for core in counters.cores) == 1
        assert is_read != works_alone, overrides


def test_no_objective_gives_a_shorter_run_than_latency() -> None:
    trace = trace_workload("conv2")
    found = {
        objective: latency(
            simulate(load_hardware("edge_quad", (f"mapping.objective={objective}",)), trace, "dense-int8")
        )
        for objective in ("latency", "edp", "energy", "dram_bytes")
    }
    assert found["latency"] == min(found.values()), found


@pytest.mark.parametrize("objective", ["latency", "energy", "edp", "dram_bytes"])
@pytest.mark.parametrize(("chip", "storage"), [("edge_quad", "slt"), ("edge_quad", "dense-int8"), ("server_16", "slt")])
def test_one_core_alone_costs_no_less_than_what_it_is_left_out_for(chip: str, storage: str, objective: str) -> None:
    hardware = load_hardware(chip, (f"mapping.objective={objective}",)).config
    network = network_on_cores(
        hardware, trace_workload("conv2", TICKET if storage == "slt" else TraceOptions()), storage
    )
    least = least_work(hardware, network)
    alone = network.alone(core_chip(hardware, 1, None), network.trace)
    assert least is not None
    assert 0 < least.value(hardware) <= network.cost(core_of_one(alone, hardware.num_cores), hardware)


def test_inputs_stream_through_a_pipeline() -> None:
    chip = load_hardware("edge", ("num_cores=2", "mapping.schedule=pipeline", "memory=ideal"))
    one, many = (simulate(chip, with_batch(small(), number), "dense-int8") for number in (1, 8))
    stages = [core.end_cycle for core in one.cores]
    assert one.first_input_cycles is None
    assert latency(one) == stages[1] > stages[0]  # one after the other
    assert many.first_input_cycles is not None
    assert many.first_input_cycles < latency(many) < 8 * latency(one)
    assert sum(core.macs for core in many.cores) == 8 * sum(layer.dims.macs for layer in small().layers)
    assert {sum(core.cycles_by_cause.values()) for core in many.cores} == {latency(many)}


@pytest.mark.parametrize("where", ["share=[weight_generator]", "core_network={}"])
def test_a_stage_runs_its_layers_fused(where: str) -> None:
    trace, more = with_batch(deep(), 3), ("mapping.schedule=pipeline", "mapping.fuse=[[one, two]]")
    plain, fused = quad("mapping.schedule=pipeline"), quad(where, *more)
    apart, together = (simulate(chip, trace, "dense-int8") for chip in (plain, fused))
    assert [group.layers for group in together.fused] == [("one", "two")]
    assert [core.num_layers > 0 for core in together.cores] == [True, True, False, False]  # both are one core's
    assert sum(layer.macs for layer in together.layers) == sum(layer.macs for layer in apart.layers)
    saved = moved(apart, "activation_in", "activation_out") - moved(together, "activation_in", "activation_out")
    assert saved > 1.95 * trace.layers[0].dims.num_outputs  # the map between them, written and read
    assert simulate(fused, trace, "dense-int8", exact=True) == together
    network = network_on_cores(fused.config, trace, "dense-int8")
    program, counters = best_program(fused.config, network)
    assert program is not None
    again = by_stages(fused.config, network, lambda each: end_of_slots(each.slots, fused.config), program)
    assert (again.divided, again.fused) == (program.divided, program.fused)
    assert end_of_slots(again.slots, fused.config) == latency(counters)


@pytest.mark.parametrize("how", ["split=batch", "schedule=pipeline"])
def test_a_stated_tile_is_cut_to_what_a_core_takes(how: str) -> None:
    chip, trace = quad(f"mapping.{how}"), with_batch(small(), 4)
    tiling = Tiling(N=4, G=1, K=32, C=16, P=16, Q=16, order=("K", "C", "N", "G", "P", "Q"))
    run = simulate(chip, trace, "dense-int8", fixed={"one": tiling})
    assert sum(core.macs for core in run.cores) == sum(layer.dims.macs for layer in trace.layers)


def test_sums_in_a_shared_activation_buffer_have_a_part_of_it_too() -> None:
    several = ("num_cores=2", "share=[activation_buffer]", "mapping.schedule=pipeline", "mapping.fuse=auto")
    counters = simulate(load_hardware("eyeriss_dense", several), with_batch(small(), 2), "dense-int8")
    assert sum(core.macs for core in counters.cores) == sum(layer.macs for layer in counters.layers)


@pytest.mark.parametrize("where", ["share=[activation_buffer]", "core_network={}"])
def test_maps_between_stages_stay_on_chip_where_cores_can_read_them(where: str) -> None:
    trace = with_batch(small(), 4)
    far, near = (simulate(quad("mapping.schedule=pipeline", *more), trace, "dense-int8") for more in ((), (where,)))
    between = 4 * small().layers[0].dims.num_outputs
    assert (
        moved(far, "activation_in", "activation_out") - moved(near, "activation_in", "activation_out") > 1.95 * between
    )  # each has its own tilings


def test_a_map_leaves_the_chip_where_a_layer_has_no_room_beside_it() -> None:
    chip = quad("share=[activation_buffer]", "mapping.split=filters", "activation_buffer.capacity_bytes=16384").config
    divided = by_layers(chip, network_on_cores(chip, small(P=32, Q=32, H=32, W=32), "dense-int8"))
    assert divided.divided == ("filters", "filters")


def test_a_shared_mask_buffer_reads_the_mask_once() -> None:
    trace = replace(trace_workload("resnet18", TICKET), name="part")
    trace = replace(trace, layers=trace.layers[1:3])
    alone = simulate(load_hardware("edge"), trace, "slt")
    shared = simulate(quad(SHARED, "mapping.split=positions"), trace, "slt")
    private = simulate(quad("mapping.split=positions"), trace, "slt")
    # Tiles of another size are rounded up to other bursts.
    assert moved(shared, "mask") == pytest.approx(moved(alone, "mask"), rel=0.02)
    assert moved(private, "mask") == pytest.approx(4 * moved(alone, "mask"), rel=0.02)
    wires = [sum(layer.actions["interconnect"]["bits"] for layer in run.layers) for run in (shared, private)]
    assert wires[1] - wires[0] >= 8 * (moved(private, "mask", "seed") - moved(shared, "mask", "seed")) * 0.95
    made = [run.layers[0].actions["weight_generator"]["words"] for run in (alone, shared, private)]
    assert made[1] < made[2]


def test_a_result_says_what_each_core_did() -> None:
    chip, trace = load_hardware("edge_quad"), trace_workload("conv2", TraceOptions())
    run = simulate_format(chip, trace, "dense-int8", exact=False)
    again = check_result(result_text(run.result))
    assert again.cores is not None
    assert len(again.cores) == 4
    assert "cores" not in json.loads(
        result_text(simulate_format(load_hardware("edge"), trace, "dense-int8", False).result)
    )


def test_area_and_leakage_are_those_of_all_cores_and_shared_units_there_once() -> None:
    trace = trace_workload("conv2", TICKET)
    one, private, shared = (
        simulate_format(chip, trace, "slt", exact=False).result.totals.area_mm2_by_unit
        for chip in (load_hardware("edge"), quad(), quad(SHARED))
    )
    assert private["pe_array"] == pytest.approx(4 * one["pe_array"])
    assert private["weight_generator"] == pytest.approx(4 * one["weight_generator"])
    # Gates once; the state of the lanes, which hold streams of all cores, four times.
    assert one["weight_generator"] < shared["weight_generator"] < 0.9 * private["weight_generator"]
    assert shared["weight_buffer"] == pytest.approx(4 * one["weight_buffer"])


@pytest.mark.parametrize("how", ["split=filters", "schedule=pipeline"])
def test_a_deadlock_names_core_and_unit(how: str) -> None:
    chip = quad(f"mapping.{how}").config
    program, _ = best_program(chip, network_on_cores(chip, with_batch(deep(), 2), "dense-int8"))
    assert program is not None
    system = build_system(program.slots, chip)
    place = next(number for number, station in enumerate(system.stations) if station.name == "2/vector_unit")
    station = system.stations[place]
    never = Wait("1/drained", station.waits[0].value * 0 + 10**6)
    stations = (
        *system.stations[:place],
        replace(station, waits=(*station.waits, never)),
        *system.stations[place + 1 :],
    )
    with pytest.raises(SimulationError, match=r"2/vector_unit waits for output tiles .* of core 1 to reach 1000000"):
        solve_system(replace(system, stations=stations), chip, engine="python")


def test_a_stated_split_is_taken_layer_by_layer() -> None:
    chip = quad("mapping.split={default: filters, two: positions}").config
    program, _ = best_program(chip, network_on_cores(chip, small(), "dense-int8"))
    assert isinstance(program, Program)
    assert program.divided == ("filters", "positions")


def test_networks_side_by_side_do_not_disturb_each_other_without_a_bottleneck() -> None:
    # Four cores each, several layers: no network waits for layers of the other, and each is seen to its own end.
    chip = load_hardware("edge", ("num_cores=8", "memory=ideal", "mapping.schedule=tenants")).config
    trace = LayerTrace("part", trace_workload("conv2").layers[:4], "dense")
    run = run_tenants(chip, [network_on_cores(chip, trace, "dense-int8") for _ in range(2)])
    assert [tenant.slow_down for tenant in run.tenants] == [1.0, 1.0]
    assert run.end_cycle == run.tenants[0].alone_cycles
    slow = quad("dram.data_rate_mtps=100", "mapping.schedule=tenants").config
    run = run_tenants(slow, [network_on_cores(slow, small(), "dense-int8") for _ in range(2)])
    assert min(tenant.slow_down for tenant in run.tenants) > 1.2
    assert sum(core.macs for core in run.cores) == 2 * sum(layer.dims.macs for layer in small().layers)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("num_cores=2", "mapping.split=filter"), "'filter' is not a split; give one of auto, filters"),
        (("num_cores=2", "mapping.split={conv1: filtrs}"), "conv1: 'filtrs' is not a split"),
        (("num_cores=2", "share=[mask_decoder]"), "share mask_buffer too"),
        (("num_cores=2", "mapping.schedule=pipeline", "mapping.split=filters"), "each layer is one core's"),
        (("num_cores=65",), "num_cores"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_hardware("edge", overrides)


def test_networks_side_by_side_take_turns_at_a_shared_generator() -> None:
    trace = LayerTrace("part", trace_workload("resnet18", TICKET).layers[1:3], "dense")
    shared, private = (
        quad("mapping.schedule=tenants", "memory=ideal", "weight_generator.num_lanes=1", *more).config
        for more in (("share=[weight_generator]",), ())
    )
    runs = [run_tenants(chip, [network_on_cores(chip, trace, "slt")] * 2) for chip in (shared, private)]
    assert max(tenant.slow_down for tenant in runs[0].tenants) > 1.2
    assert [tenant.slow_down for tenant in runs[1].tenants] == [1.0, 1.0]


def test_a_core_that_is_done_early_takes_no_turn_before_those_that_it_waits_for() -> None:
    # A layer begins on the first core that is free, while others still need the shared decoder for the layer before.
    chip = load_hardware("edge_quad", ("mapping.schedule=tenants",)).config
    trace = LayerTrace("part", trace_workload("mobilenet_v2", TraceOptions(sparsity=0.6)).layers[:7], "dense")
    run = run_tenants(chip, [network_on_cores(chip, trace, "slt")] * 2)
    assert [tenant.counters.layers[-1].name for tenant in run.tenants] == [trace.layers[-1].name] * 2


def test_layers_that_are_fused_may_be_those_of_one_network_of_several() -> None:
    chip = quad("mapping.schedule=tenants", "mapping.fuse=[[two, three]]", "mapping.split={three: filters}").config
    run = run_tenants(chip, [network_on_cores(chip, trace, "dense-int8") for trace in (small(), deep())])
    assert [len(tenant.counters.fused) for tenant in run.tenants] == [0, 1]
    wrong = quad("mapping.schedule=tenants", "mapping.fuse=[[two, four]]").config
    with pytest.raises(MappingError, match="has no layer 'four'"):
        run_tenants(wrong, [network_on_cores(wrong, trace, "dense-int8") for trace in (small(), deep())])


def test_one_network_is_no_tenant() -> None:
    with pytest.raises(MappingError, match="tenants: cores have networks of their own, and this is one; give two"):
        simulate(quad("mapping.schedule=tenants"), small(), "dense-int8")


def test_limits_of_several_cores_are_runs_with_twice_as_much() -> None:
    chip, twice = quad(), quad("dram.num_channels=2")
    trace = trace_workload("conv4")
    run = run_with_limits(chip, trace, simulate_format(chip, trace, "dense-int8", False), None)
    limits = run.counters.limits
    assert {"memory_bandwidth", "pe_array"} <= set(limits)
    anew = simulate_format(twice, trace, "dense-int8", False).result.totals.latency_cycles
    latency = run.result.totals.latency_cycles
    assert anew <= limits["memory_bandwidth"].latency_cycles_with_twice < latency  # layers stay divided as they are
    for limit in limits.values():
        assert 0 < limit.latency_cycles_with_twice <= latency


def test_a_split_by_inputs_needs_inputs() -> None:
    chip = quad("mapping.split=batch")
    with pytest.raises(MappingError, match="has one input; give --batch"):
        simulate(chip, small(), "dense-int8")


@pytest.mark.parametrize(
    ("split", "message"),
    [("{three: filters}", "small has no layer 'three'"), ("{one: batch}", "has one input; give --batch")],
)
def test_a_split_names_layers_that_are_there(split: str, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        simulate(quad(f"mapping.split={split}"), small(), "dense-int8")


def test_a_tile_whose_inputs_move_nothing_is_no_request_to_a_shared_buffer() -> None:
    chip = load_hardware("edge_quad", ("num_cores=6", "mapping.objective=latency")).config
    trace = LayerTrace("part", trace_workload("conv2").layers[:2], "dense")
    run = run_tenants(chip, [network_on_cores(chip, trace, "dense-int8")] * 2)
    assert sum(core.macs for core in run.cores) == 2 * sum(layer.dims.macs for layer in trace.layers)


def test_who_watches_one_core_alone_changes_nothing() -> None:
    chip = quad("share=[weight_generator, mask_decoder, mask_buffer, activation_buffer]", "mapping.objective=energy")
    trace, probe = with_statistics(small(K=8, C=8), TICKET), TimelineProbe()
    trace = replace(trace, layers=trace.layers[:1])
    plain = simulate(chip, trace, "slt")
    assert [core.num_layers for core in plain.cores] == [1, 0, 0, 0]
    assert simulate(chip, trace, "slt", exact=True) == plain
    assert simulate(chip, trace, "slt", probe=probe) == plain
    assert probe.layers("0/pe_array") == [0]


def test_a_batch_is_divided_beside_a_memory_with_its_own_timing() -> None:
    counters = simulate(quad("dram.model=timing", "mapping.split=batch"), with_batch(small(), 8), "dense-int8")
    assert [core.num_layers for core in counters.cores] == [2, 2, 2, 2]
