import errno
import io
import os
import runpy
import subprocess
import sys

import click
import pytest

from accelsim.cli import main as cli_main
from accelsim.cli.catalogue import GROUPS
from accelsim.cli.common import Choice


def fails(capsys, argv):
    status = cli_main.main(argv)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return status, captured.err


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["rnu"], "accelsim: no such command 'rnu'; did you mean 'run'? see accelsim --help\n"),
        (["config", "chekc"], "accelsim: no such command 'chekc'; did you mean 'check'? see accelsim config --help\n"),
        (["config"], "accelsim: missing command; see accelsim config --help\n"),
        (
            ["list", "format"],
            "invalid value for '[KIND]': 'format' is unknown; did you mean 'formats'? give one of chips, ",
        ),
        (
            ["report", "x", "-o", "y", "--format", "hmtl"],
            "'--format': 'hmtl' is unknown; did you mean 'html'? give one of",
        ),
        (["validate", "--reference", "gemini-rtl"], "did you mean 'gemmini-rtl'? give one of"),
        (["run", "hwconfigs/egde.yaml", "conv2"], "egde.yaml: no such file; did you mean 'hwconfigs/edge.yaml'? give"),
        (["run", "hwconfig/edge.yaml", "conv2"], "edge.yaml: no such file; did you mean 'hwconfigs/edge.yaml'? give"),
        (["run", "egde", "conv2"], "egde: no such file; did you mean 'edge'? give the path"),
        (["run", "edge", "workloads/resnet_stl.pt"], "did you mean 'workloads/resnet_slt.pt'? give"),
        (["run", "resnet_slt", "edge"], "resnet_slt: no such file; 'resnet_slt' is a ticket; give the path of a YAML"),
        (["run", "edge", "hiddenite"], "hiddenite: no such file, network or ticket; 'hiddenite' is a chip; accelsim"),
        (["config", "check", "egde"], "egde: no such file; did you mean 'edge'? give the path of a YAML file, or a"),
        (["run", "edge", "resnet_stl"], "did you mean 'resnet_slt'? accelsim list shows"),
        (["inspect", "conv6_slt_f5"], "did you mean 'conv6_slt_f50'? give"),
        (["map", "edge", "lenet", "--objective", "enrgy"], "did you mean 'energy'? give"),
        (["run", "edge", "conv2", "--set", "pe_aray.rows=4"], "unknown path; did you mean 'pe_array.rows'?"),
        (["list", "--jsn"], "Did you mean '--json'? see accelsim list --help\n"),
        (["--verion"], "'--version'"),
        (["config", "check"], "missing argument 'FILES...'"),
        (["config", "check", "edge", "--set", "dram.self_refresh_after_ns=10"], "is below power_down_after_ns, 640;"),
    ],
)
def test_a_usage_mistake_is_one_line_with_a_hint(capsys, argv, line):
    status, error = fails(capsys, argv)

    assert status == 2
    assert line in error


def test_every_choice_of_every_command_suggests_near_misses():
    context = click.Context(cli_main.cli)
    commands = [cli_main.cli.get_command(context, entry.name) for _, entries in GROUPS for entry in entries]
    commands += [sub for command in commands for sub in getattr(command, "commands", {}).values()]
    kinds = [parameter.type for command in commands for parameter in command.params]

    assert [kind for kind in kinds if isinstance(kind, click.Choice) and not isinstance(kind, Choice)] == []


def test_a_wrong_file_is_one_line(capsys, tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text("name: x\nclock_mhz: 0\nnode_nm: 22\n")

    status, error = fails(capsys, ["config", "show", str(path)])

    assert status == 2
    assert "chip.yaml:2: clock_mhz: 0" in error


def test_an_echoed_value_is_cut_and_the_rest_of_the_line_is_not(capsys):
    status, error = fails(capsys, ["config", "x" * 5000])

    assert status == 2
    assert error.startswith(f"accelsim: no such command '{'x' * 77}...'; known are ")

    plain = "the node's own value " + "y" * 90 + " and the chip's"
    assert cli_main._complain(plain, 2) == 2
    assert capsys.readouterr().err == f"accelsim: {plain}\n"


def fail_with(monkeypatch, error):
    def broken(*_args, **_options):
        raise error

    monkeypatch.setattr(cli_main.cli, "main", broken)


def test_an_internal_fault_is_one_line_and_status_1(capsys, monkeypatch):
    fail_with(monkeypatch, KeyError("some\nname"))

    status, error = fails(capsys, ["list"])

    assert status == 1
    assert "internal fault (KeyError" in error
    assert "report" in error


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_status_130(capsys, monkeypatch, interrupt):
    fail_with(monkeypatch, interrupt)

    assert fails(capsys, ["list"]) == (130, "accelsim: interrupted\n")


def test_overview_names_every_command_once_with_an_example(capsys):
    assert cli_main.main(["--help"]) == 0
    shown = capsys.readouterr().out
    words = " ".join(shown.split())

    for title, entries in GROUPS:
        assert f"{title}:" in shown
        for entry in entries:
            assert words.count(entry.summary) == 1
            assert entry.example in shown


@pytest.mark.parametrize("name", [entry.name for _, entries in GROUPS for entry in entries])
def test_every_command_has_help_with_examples(capsys, name):
    assert cli_main.main([name, "--help"]) == 0
    assert "Examples:\n    " in capsys.readouterr().out


def test_version(capsys):
    assert cli_main.main(["--version"]) == 0
    assert capsys.readouterr().out == "accelsim 0.1.0\n"


def test_presets_are_another_word_for_chips(capsys):
    assert cli_main.main(["list", "chips"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("chips (")
    assert cli_main.main(["list", "presets"]) == 0
    assert capsys.readouterr().out == shown


def test_json_of_list_is_all_of_standard_output(capsys):
    import json

    assert cli_main.main(["list", "formats", "--json"]) == 0
    names = [item["name"] for item in json.loads(capsys.readouterr().out)["formats"]]
    assert {"slt", "dense-int8"} <= set(names)


def test_config_diff_names_the_values_that_differ(capsys, tmp_path):
    for name, clock in (("a", 500), ("b", 600)):
        (tmp_path / name).write_text(f"name: chip\nclock_mhz: {clock}\nnode_nm: 22\n")

    assert cli_main.main(["config", "diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out == "clock_mhz  500.0 -> 600.0\n"


def test_config_show_prints_yaml_that_loads_to_the_same_chip(capsys, tmp_path):
    from accelsim.config.loader import load_hardware

    path = tmp_path / "chip.yaml"
    path.write_text("name: chip\nclock_mhz: 500\nnode_nm: 22\nweight_generator: {}\n")
    assert cli_main.main(["config", "show", str(path), "--set", "pe_array.rows=8"]) == 0
    again = tmp_path / "again.yaml"
    again.write_text(capsys.readouterr().out)

    assert load_hardware(again).config == load_hardware(path, ["pe_array.rows=8"]).config


@pytest.mark.parametrize("broken", ["flush", "write"])  # at the end, and in the middle of a command
def test_a_closed_pipe_is_quiet(monkeypatch, capsys, broken):
    class Closed(io.StringIO):
        def fileno(self):
            return self.descriptor

    def fail(*_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(Closed, broken, fail, raising=False)
    closed = Closed()
    closed.descriptor = os.dup(2)
    monkeypatch.setattr(sys, "stdout", closed)
    assert cli_main.main(["list", "formats", "--json"]) == 141
    assert capsys.readouterr().err == ""


def test_the_module_exits_with_the_status_of_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["accelsim", "run", "nowhere.yaml", "nowhere.pt"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("accelsim", run_name="__main__")
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "ed"], {"file,ed", "plain,edge", "plain,edge_dense"}),
        (["run", "edge", "resnet_"], {"file,resnet_", "plain,resnet_slt"}),
        (
            ["run", "edge", "x", "--compare", "csr-int8,dense-int"],
            {"plain,csr-int8,dense-int8", "plain,csr-int8,dense-int4"},
        ),
        (["config", "diff", "edge", "hidden"], {"file,hidden", "plain,hiddenite", "plain,hiddenite_dense"}),
        (["report", "x", "--format", "h"], {"plain,html"}),
        (["run", "edge", "x", "--set", "pe_array.ro"], {"plain,pe_array.rows="}),
        (["run", "edge", "x", "--set", "weight_"], {"plain,weight_buffer.", "plain,weight_generator."}),
        (["run", "edge", "x", "--vary", "sto"], {"plain,storage="}),
    ],
)
def test_a_shell_completes_names(capsys, monkeypatch, words, expected):
    from accelsim.cli.completing import completion_of

    monkeypatch.setenv("COMP_WORDS", " ".join(["accelsim", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    completion = completion_of("bash")

    found = completion.complete().splitlines()
    assert expected <= set(found)
    assert all(line.partition(",")[2].startswith(words[-1]) for line in found)


def test_the_words_that_a_shell_completes_are_those_of_the_commands():
    from accelsim.cli.words import WORDS_PATH, words_text

    assert WORDS_PATH.read_text("utf-8") == words_text(), "write them again: python -m accelsim.cli.words"


def test_a_completion_loads_no_command():
    program = "import sys; from accelsim.cli.main import main; main(); print(*sorted(sys.modules))"
    asked = {"_ACCELSIM_COMPLETE": "bash_complete", "COMP_WORDS": "accelsim run edge x --set pe_ar", "COMP_CWORD": "5"}
    run = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True, check=True
    )

    assert "plain,pe_array." in run.stdout
    loaded = set(run.stdout.splitlines()[-1].split())
    assert not loaded & {"numpy", "pydantic", "rich", "accelsim.cli.run_command"}
