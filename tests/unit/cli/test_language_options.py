"""Options of language models on the command line."""

import json

import pytest

from accelsim.cli.main import main

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
SMALL = {
    "model_type": "llama", "vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4,
    "intermediate_size": 96, "max_position_embeddings": 128,
}  # fmt: skip


@pytest.fixture
def call(tmp_path, capsys):
    path = tmp_path / "small.json"
    path.write_text(json.dumps(SMALL))

    def called(command, *options):
        status = main([*command.split(), str(path), *options])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return called


def test_a_generation_tells_tokens_and_the_share_of_its_cache(call):
    code, out, _ = call("run edge_llm", *"--phase generate --prompt 12 --tokens 4 --batch 2 --compare none".split())
    assert code == 0
    assert "generate up to 15 tokens, batch 2" in out
    for row in ("tokens per second", "energy per token", "time to first token"):
        assert row in out
    assert "... 44 layers like these" in out  # four blocks of eleven


def test_numbers_of_experts_are_numbers(call):
    code, _, err = call("run edge_llm", *"--phase decode --context 3 --experts one".split())
    assert (code, "--experts: 'one' is no list of experts; give their numbers, e.g. 0,3" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--kv-bits 5", "--kv-bits: 5 is not one of 16, 8, 4;"),
        ("--sparsity 0.5 --prune-ratio 0.9", "--sparsity: 0.5 is not from --prune-ratio 0.9 to 1"),
    ],
)
def test_a_wrong_option_is_named_as_it_was_typed(call, options, line):
    code, _, err = call("map edge_llm", *options.split())
    assert code == 2
    assert err.startswith(f"accelsim: {line}")


def test_a_picture_of_a_generation_is_refused(call, tmp_path):
    options = f"--phase generate --prompt 12 --tokens 4 --timeline {tmp_path / 'x.json'}".split()
    code, _, err = call("run edge_llm", *options)
    assert code == 2
    assert "a generation is many runs; state --phase prefill or decode" in err
