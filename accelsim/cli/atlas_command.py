"""``accelsim atlas``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from accelsim.cli.collect import OptionRow, collecting
from accelsim.cli.common import Choice, common_options, examples, json_option, session, set_option, write_stdout
from accelsim.cli.dse_options import place_rows, wanted_places
from accelsim.cli.names import complete_chip, complete_workload

PAGE_NAME = "index.html"
_AXES = (
    OptionRow(
        "--tickets", click.STRING, "FORMAT:FREEZING by comma [default: mask-2bit:0,slt:0,slt:0.5,slt:0.7,slt:0.9]."
    ),
    OptionRow("--rivals", click.STRING, "Formats, by comma [default: ternary-1.58,int4-g128,lcg-2bit]."),
    OptionRow("--contexts", click.STRING, "Tokens in the cache, by comma [default: four that the model has room for]."),
    OptionRow("--batches", click.STRING, "Sequences side by side, by comma [default: 1,4,16]."),
    OptionRow(
        "--bandwidths", click.STRING, "GB/s of the memory, by comma [default: 0.5, 1, 2 and 4 times the chip's]."
    ),
    OptionRow("--pj-per-bit", click.STRING, "Prices of a DRAM bit, by comma; chip: its own [default: chip,2,4,8,16]."),
)
_RUN = (
    OptionRow("--phase", Choice(("decode", "prefill")), "What is run [default: decode]."),
    OptionRow("--kv-bits", click.INT, "Bits of a cached number, 16, 8 or 4 [default: an activation's]."),
    OptionRow("--sparsity", click.FLOAT, "Fraction of zeros in the masks [default: 0.5]."),
)


@click.command(
    "atlas",
    epilog=examples(
        "accelsim atlas edge_llm gpt2 --out out/atlas",
        "accelsim atlas phone_lpddr5x llama3_2_1b --contexts 512,4096 --batches 1,8 --out out/phone",
    ),
)
@click.argument("hardware", shell_complete=complete_chip)
@click.argument("network", shell_complete=complete_workload)
@click.option("--out", "folder", required=True, metavar="DIR", help="Write atlas.csv, atlas.json and index.html there.")
@set_option()
@collecting("given", *_AXES, *_RUN)
@place_rows
@json_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    hardware: str,
    network: str,
    *,
    folder: str,
    overrides: tuple[str, ...],
    given: Mapping[str, Any],
    places: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Draw who wins for a language model: tickets or their rivals, in time and in energy.

    NETWORK is a language model by name (accelsim list networks) or its config.json. Running again resumes, and an atlas
    with more values simulates only what is new.
    """
    from accelsim.dse.atlas import JSON_NAME, make_atlas  # noqa: PLC0415  --help must stay quick
    from accelsim.dse.atlas_space import atlas_space  # noqa: PLC0415
    from accelsim.report.atlas_html import atlas_page  # noqa: PLC0415
    from accelsim.report.atlas_words import finding  # noqa: PLC0415
    from accelsim.results.store import write_text  # noqa: PLC0415

    space = atlas_space(
        hardware,
        network,
        overrides,
        {row.name: given.get(row.name) for row in _AXES},
        given.get("sparsity", 0.5),
        {name: given[name] for name in ("phase", "kv_bits") if name in given},
    )
    atlas = make_atlas(space, wanted_places(ctx, folder, places))
    write_text(Path(folder) / PAGE_NAME, atlas_page(atlas))
    if as_json:
        write_stdout((Path(folder) / JSON_NAME).read_text(encoding="utf-8"))
        return
    for line in finding(atlas):
        click.echo(line)
    session(ctx).note(f"wrote {PAGE_NAME}, atlas.csv and {JSON_NAME} in {folder}: {len(atlas.cells):,} cells")
