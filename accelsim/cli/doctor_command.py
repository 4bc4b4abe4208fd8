"""``accelsim doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from accelsim.cli.common import common_options, examples, json_option, write_stdout
from accelsim.doctor import examine


@click.command("doctor", epilog=examples("accelsim doctor"))
@json_option
@common_options
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Look at versions and presets, and simulate a small network as a self-test; exit status 1 if one is broken."""
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name}: {finding.detail}")
    if as_json:
        write_stdout(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    if not all(finding.ok for finding in findings):
        ctx.exit(1)
