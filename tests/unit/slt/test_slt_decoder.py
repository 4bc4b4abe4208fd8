"""A decoder over the characters of a text: searched, stored, verified on a chip and simulated. A tiny one, seconds."""

import io
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from rich.console import Console

from accelsim.config.loader import load_hardware
from accelsim.errors import ConfigError, TicketError
from accelsim.pipeline import run
from accelsim.slt.checkpoint import write_checkpoint
from accelsim.slt.config import SearchConfig
from accelsim.slt.data import load_data
from accelsim.slt.decoder import layer_gains
from accelsim.slt.export import evaluate
from accelsim.slt.search import epoch_steps, search, snapshot, start_search
from accelsim.slt.text import Text, encode, load_bible
from accelsim.ticket.file import read_ticket
from accelsim.ticket.inspect import inspect
from accelsim.trace import trace_ticket
from accelsim.validation.verify import verify_weights
from accelsim.validation.verify_inference import verify_accuracy

SMALL = SearchConfig(
    network="char_decoder",
    dataset="kjv",
    width_factor=0.25,
    sparsity=0.5,
    prune_ratio=0.25,
    lock_ratio=0.25,
    optimizer="adam",
    learning_rate=0.02,
    num_epochs=3,
    batch_size=16,
    precision="float32",
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def text() -> Text:
    """Words in random order: inside a word the next character is known."""
    rng = np.random.default_rng(3)
    words = [["red ", "blue ", "green "][place] for place in rng.integers(0, 3, 1200)]
    characters = "".join(sorted(set("".join(words))))
    return Text(
        encode(words[:1000], characters), encode(words[1000:], characters), characters, "words", 16, epoch_windows=256
    )


@pytest.fixture(scope="module")
def ticket(text, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("decoder") / "words.pt")
    search(SMALL.model_copy(update={"output_path": path}), data=text, console=Console(file=io.StringIO()))
    return read_ticket(path)


def test_a_window_has_two_ones_a_row_and_the_next_characters_as_labels(text):
    batch = next(iter(text.test_batches()))
    assert batch.inputs.shape[1:] == (16, len(text.characters) + 16)
    assert (batch.inputs.sum(dim=-1) == 2).all()
    seen = batch.inputs[:, :, : len(text.characters)].argmax(dim=-1).flatten()
    assert torch.equal(seen[1:], batch.labels[:-1])
    assert torch.equal(seen, torch.from_numpy(text.test[: len(seen)]).long())


def test_a_position_sees_nothing_that_comes_after_it(text):
    state = start_search(SMALL, text)
    state.network.eval()
    inputs = next(iter(text.test_batches())).inputs[:1]
    changed = inputs.clone()
    changed[:, 9:, : len(text.characters)] = changed[:, 9:, : len(text.characters)].roll(1, dims=-1)
    with torch.no_grad():
        first, second = state.network(inputs), state.network(changed)
    assert torch.equal(first[:, :9], second[:, :9])
    assert not torch.equal(first[:, 9:], second[:, 9:])


def test_the_stored_ticket_foresees_what_it_was_searched_on(ticket, text):
    """Uniform guesses take log2(characters) bits; here the words, not their order, can be known."""
    again = evaluate(ticket, text)
    assert again.bits_per_character == pytest.approx(ticket.bits_per_character, abs=1e-6)
    assert ticket.bits_per_character < 0.6 * math.log2(len(text.characters))
    assert ticket.accuracy > 0.6
    assert inspect(ticket).bits_per_character == ticket.bits_per_character
    assert sum(layer.num_kept for layer in ticket.layers) == sum(-(-layer.num_weights // 2) for layer in ticket.layers)


def test_the_chip_regenerates_it_and_integer_inference_agrees(ticket, text):
    chip = load_hardware("edge")
    weights = verify_weights(chip, ticket)
    assert (weights.problem, weights.compared_with) == (None, "digests")
    whole, part = verify_accuracy(ticket, text), verify_accuracy(ticket, text, num_images=5)
    assert part.num_images == 5
    assert whole.accuracy == pytest.approx(ticket.accuracy, abs=0.03)  # 976 labels: coarser than a real test part
    result = run(chip, trace_ticket(ticket), "slt")
    assert result.workload.num_weights == sum(layer.num_weights for layer in ticket.layers)
    assert any(layer.name == "blocks.0.attn.scores" for layer in result.layers)


def test_queries_and_keys_are_scaled_by_the_fourth_root_of_the_head_size(text):
    graph = start_search(SMALL, text).network.graph
    plain, scaled = layer_gains(graph, "none"), layer_gains(graph, "head")
    assert {name for name in plain if plain[name] != scaled[name]} == {
        f"blocks.{block}.attn.{part}_proj" for block in range(5) for part in "qk"
    }
    assert scaled["blocks.0.attn.q_proj"] == pytest.approx(8**0.25 * plain["blocks.0.attn.q_proj"])
    # Two ones a row; a ReLU follows fc1 alone.
    assert plain["embed"] == pytest.approx(((len(text.characters) + 16) / 4) ** 0.5)
    assert (plain["blocks.0.mlp.fc1"], plain["blocks.0.mlp.fc2"]) == (1.0, 0.5**0.5)


@pytest.mark.parametrize("learned", ["mask", "weights"])
def test_a_resumed_search_gives_the_same_ticket(learned, text, tmp_path):
    config = SMALL.model_copy(update={"learned": learned, "checkpoint_path": str(tmp_path / "state"), "num_epochs": 2})
    quiet = Console(file=io.StringIO())
    whole = search(config.model_copy(update={"checkpoint_path": None}), data=text, console=quiet, command="c")
    state = start_search(config, text)
    for _ in epoch_steps(state, 0):
        pass
    state.num_epochs_done = 1
    write_checkpoint(str(tmp_path / "state"), snapshot(state))
    resumed = search(config, data=text, console=quiet, command="c", resume=True)
    assert resumed.bits_per_character == whole.bits_per_character
    assert [layer.mask_payload for layer in resumed.layers] == [layer.mask_payload for layer in whole.layers]


def test_the_trained_counterpart_states_its_scores_and_no_values(text):
    config = SMALL.model_copy(update={"learned": "weights", "learning_rate": 0.005})
    trained = search(config, data=text, console=Console(file=io.StringIO()))
    assert (trained.provenance, trained.regenerable) == ("dense", False)
    assert trained.bits_per_character < 0.6 * math.log2(len(text.characters))
    assert "rounded to 4 bits" in trained.notes[-1]
    assert trace_ticket(trained).provenance == "dense"


def test_data_and_network_must_belong_together(text):
    with pytest.raises(ConfigError, match="char_decoder does not take it; use dataset kjv"):
        start_search(SMALL.model_copy(update={"dataset": "blocks"}), load_data("blocks"))
    with pytest.raises(ConfigError, match="use dataset blocks"):
        start_search(SMALL.model_copy(update={"network": "gin_ogbn_arxiv"}), text)
    with pytest.raises(TicketError, match="has no classes"):
        start_search(SMALL.model_copy(update={"network": "decoder_block"}), text)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr("accelsim.slt.text.PACKAGE", "a-package-that-nobody-has")
    load_bible.cache_clear()
    with pytest.raises(ConfigError, match="which is not installed; install accelsim with the extra 'text'"):
        load_bible()
