"""Which commands exist, in the order and groups of ``accelsim --help``; modules load only when called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command as the overview shows it.

    Attributes
    ----------
    name
        What the user types.
    module
        Module of `accelsim.cli` with the click command ``command``.
    summary
        One line for the overview.
    example
        A command line that works in a fresh clone.
    """

    name: str
    module: str
    summary: str
    example: str


GROUPS: tuple[tuple[str, tuple[CommandEntry, ...]], ...] = (
    (
        "Simulate",
        (
            CommandEntry(
                "run",
                "run",
                "Simulate a network on a chip, beside dense storage.",
                "accelsim run hwconfigs/edge.yaml workloads/resnet_slt.pt",
            ),
            CommandEntry(
                "compare",
                "compare",
                "Several tickets and storage formats on one chip: a table and a figure.",
                "accelsim compare hwconfigs/edge.yaml workloads/conv6_slt_f*.pt --out out/conv6",
            ),
            CommandEntry(
                "cost",
                "cost",
                "Cost a saved run again: another node, supply or energy table.",
                "accelsim cost out/run --node 7",
            ),
            CommandEntry(
                "report",
                "report",
                "One page that explains saved results, for a meeting.",
                "accelsim report out/run -o report.html",
            ),
            CommandEntry(
                "map",
                "map",
                "How layers are cut into tiles, and what that costs.",
                "accelsim map hwconfigs/edge.yaml resnet18",
            ),
            CommandEntry(
                "size",
                "size",
                "How much buffer: traffic and energy over each buffer's capacity.",
                "accelsim size edge conv6_slt_f70",
            ),
            CommandEntry(
                "validate",
                "validate",
                "The model beside published silicon and RTL.",
                "accelsim validate",
            ),
            CommandEntry(
                "dram",
                "dram",
                "Time a memory trace on a memory description.",
                "accelsim dram hwconfigs/dram/dramsim3_DDR4_8Gb_x8_2400.yaml --trace requests.trace",
            ),
        ),
    ),
    (
        "Tickets",
        (
            CommandEntry(
                "search",
                "search",
                "Search the supermask of a partially frozen random network.",
                "accelsim search conv6 --sparsity 0.7 --prune-ratio 0.35 --lock-ratio 0.15 --out conv6.pt",
            ),
            CommandEntry(
                "synth",
                "synth",
                "Make a ticket with stated statistics, without a search.",
                "accelsim synth resnet50 --sparsity 0.7 --prune-ratio 0.5 --lock-ratio 0.2 --out resnet50.pt",
            ),
            CommandEntry(
                "import",
                "import",
                "Turn another program's torch checkpoint into a ticket.",
                "accelsim import checkpoint.pt --network resnet18 --out imported.pt",
            ),
            CommandEntry(
                "trace",
                "trace",
                "The layers of a ticket, exported module, topology or network by name.",
                "accelsim trace workloads/resnet_slt.pt",
            ),
            CommandEntry(
                "inspect",
                "inspect",
                "What a ticket stores, layer by layer, in bits.",
                "accelsim inspect workloads/resnet_slt.pt",
            ),
        ),
    ),
    (
        "Explore",
        (
            CommandEntry(
                "sweep",
                "sweep",
                "Simulate every point of a design space, resumable, on many cores or machines.",
                "accelsim sweep examples/edge_memory.yaml --out out/edge_memory",
            ),
            CommandEntry(
                "explore",
                "explore",
                "Search a design space for its Pareto set: rank in closed form, then simulate.",
                "accelsim explore examples/edge_memory.yaml --trials 200 --out out/explore",
            ),
            CommandEntry(
                "atlas",
                "atlas",
                "Maps of a language model: where tickets win and where rivals do, in time and energy.",
                "accelsim atlas edge_llm gpt2 --out out/atlas",
            ),
        ),
    ),
    (
        "Trust",
        (
            CommandEntry(
                "verify",
                "verify",
                "Produce a ticket's weights as the chip does, compare them with the searched ones, classify.",
                "accelsim verify hwconfigs/edge.yaml workloads/resnet_slt.pt",
            ),
        ),
    ),
    (
        "Look around",
        (
            CommandEntry(
                "list",
                "list",
                "Chips, networks, formats, tickets and memories at hand.",
                "accelsim list formats",
            ),
            CommandEntry(
                "config",
                "config",
                "Show, check or compare hardware files.",
                "accelsim config check hwconfigs/edge.yaml",
            ),
            CommandEntry("doctor", "doctor", "Versions, presets and a self-test.", "accelsim doctor"),
            CommandEntry(
                "completion",
                "completion",
                "Print the completion script of a shell.",
                'eval "$(accelsim completion bash)"',
            ),
        ),
    ),
)
