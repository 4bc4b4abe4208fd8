"""Where public code puts its masks: each layout imports with its zeros, or is refused by the name of its tensor."""

import argparse
import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from accelsim.cli.main import main
from accelsim.errors import TicketError
from accelsim.storage.default import default_format
from accelsim.ticket.file import read_ticket
from accelsim.ticket.importers import ImportedTicket, ImportOptions, import_checkpoint
from accelsim.ticket.pack import unpack_mask
from accelsim.trace import trace_ticket

State = dict[str, torch.Tensor]
SHAPES = {"convs.0": (4, 3, 3, 3), "convs.2": (4, 4, 3, 3), "linear.0": (8, 16), "linear.2": (8, 8), "linear.4": (5, 8)}


def tensors(seed: int, low: float = 0.0) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) + low for name, shape in SHAPES.items()}


WEIGHTS = {name: value - 0.6 for name, value in tensors(1).items()}
SCORES = {name: value - 0.5 for name, value in tensors(2).items()}
MASKS = {name: (value > 0.8).float() for name, value in tensors(3).items()}
DENSE = {f"{name}.weight": value for name, value in WEIGHTS.items()}


def beside(part: str, values: State, weights: State = DENSE) -> State:
    return weights | {f"{name}.{part}": value for name, value in values.items()}


def by(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: function(WEIGHTS[name], SCORES[name]).numpy().astype(bool) for name in SHAPES}


def top(values: torch.Tensor, kept: float = 0.25) -> torch.Tensor:
    order = values.flatten().argsort(stable=True)
    mask = torch.ones(values.numel())
    mask[order[: int((1 - kept) * values.numel())]] = 0
    return mask.view(values.shape)


def largest_of(values: torch.Tensor, kept: int, group: int) -> torch.Tensor:
    if values.shape[1] % group:
        return torch.ones_like(values)
    rows = values.abs().movedim(1, -1).unflatten(-1, (-1, group))
    places = rows.topk(kept, dim=-1).indices
    return torch.zeros_like(rows).scatter(-1, places, 1).flatten(-2).movedim(-1, 1)


KEPT = {name: value.numpy() == 1 for name, value in MASKS.items()}
ROWS = {name: torch.arange(len(value)) % 2 == 0 for name, value in WEIGHTS.items()}
BY_ROW = {name: np.broadcast_to(ROWS[name].numpy().reshape(-1, *[1] * (len(s) - 1)), s) for name, s in SHAPES.items()}
WHOLE = {name: np.ones(shape, dtype=bool) for name, shape in SHAPES.items()}


def threshold_of(weight: torch.Tensor) -> torch.Tensor:
    return torch.logit(weight.abs().quantile(0.9)).view(1, 1)


def flat_masks(dots: str) -> State:
    return DENSE | {f"{name.replace('.', dots)}_mask": value for name, value in MASKS.items()}


def pruned() -> State:
    """Return what torch.nn.utils.prune leaves in a state dict."""
    state = {}
    for name, weight in WEIGHTS.items():
        module = torch.nn.Linear(1, 1)
        module.weight = torch.nn.Parameter(weight.clone())
        prune.custom_from_mask(module, "weight", MASKS[name])
        state |= {f"{name}.{key}": value for key, value in module.state_dict().items() if "bias" not in key}
    return state


CHANNELS = {n: (torch.arange(s[1]) % 2).view(1, -1, *[1] * (len(s) - 2)) for n, s in SHAPES.items()}
FEW = {name: torch.rand(3) for name in SHAPES}
LINE = {name: value.flatten()[: len(value)] for name, value in WEIGHTS.items()}


def prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


PLACES = {name: value.flatten().nonzero().flatten() for name, value in MASKS.items()}
PACKED = {name: torch.from_numpy(np.packbits(value == 1)) for name, value in KEPT.items()}
OPTIMISER = {"state": {0: {"exp_avg": torch.rand(4, 4, 3, 3), "step": torch.tensor(3.0)}}, "param_groups": []}
LAYOUTS: dict[str, tuple[object, dict[str, object], dict[str, np.ndarray]]] = {
    "plain mask": (beside("mask", MASKS), {}, KEPT),
    "truth values": (beside("mask", {name: value.bool() for name, value in MASKS.items()}), {}, KEPT),
    "weight_mask alone": (beside("weight_mask", MASKS), {}, KEPT),
    "mask of the tensor cores": (beside("__weight_mma_mask", MASKS), {}, KEPT),
    "torch pruning": (pruned(), {}, KEPT),
    "parametrisation": (
        {f"{name}.parametrizations.weight.original": value for name, value in WEIGHTS.items()}
        | {f"{name}.parametrizations.weight.0.mask": value for name, value in MASKS.items()}, {}, KEPT,
    ),
    "wrapped modules": (
        {f"{name}.module.weight": value for name, value in WEIGHTS.items()}
        | {f"{name}.weight_mask": value for name, value in MASKS.items()}, {}, KEPT,
    ),
    "masks by parameter": ({"model": DENSE, "masks": {f"{name}.weight": m for name, m in MASKS.items()}}, {}, KEPT),
    "masks by module": ({"state_dict": DENSE, "mask": MASKS, "optimizer": OPTIMISER}, {}, KEPT),
    "masks of a parallel module": (
        {"net": prefixed("module.", DENSE), "masks": prefixed("module.", beside("weight", MASKS, {}))}, {}, KEPT,
    ),
    "masks in order": ({"model": DENSE, "masks": list(MASKS.values())}, {}, KEPT),
    "masks of all parameters in order": (
        {"model": DENSE, "masks": [part for mask in MASKS.values() for part in (mask, torch.ones(len(mask)))]},
        {}, KEPT,
    ),
    "an odd name that the zeros confirm": (
        beside("prune_mask", MASKS, {f"{name}.weight": WEIGHTS[name] * mask for name, mask in MASKS.items()}), {}, KEPT,
    ),
    "masks with underscores": (flat_masks("_"), {}, KEPT),
    "a module of masks": (DENSE | {f"mask.{name}.weight": value for name, value in MASKS.items()}, {}, KEPT),
    "flattened masks": (beside("mask", {name: value.flatten() for name, value in MASKS.items()}), {}, KEPT),
    "a mask per filter": (beside("mask", {name: value.float() for name, value in ROWS.items()}), {}, BY_ROW),
    "a mask per channel": (
        beside("mask", CHANNELS), {}, {n: np.broadcast_to(m.numpy() == 1, SHAPES[n]) for n, m in CHANNELS.items()},
    ),
    "pruned biases": (beside("bias_orig", LINE, beside("bias_mask", ROWS, pruned())), {}, KEPT),
    "a mask and one of before": (
        beside("prev_mask", {name: 1 - mask for name, mask in MASKS.items()}, beside("mask", MASKS)), {}, KEPT,
    ),
    "soft thresholds": (
        beside("sparseThreshold", {name: threshold_of(value) for name, value in WEIGHTS.items()}), {},
        by(lambda weight, _: weight.abs() > torch.sigmoid(threshold_of(weight))),
    ),
    "popup scores": (beside("popup_scores", SCORES), {"sparsity": 0.75}, by(lambda _, score: top(score.abs()))),
    "scores and those of the best epoch": (
        beside("best_scores", MASKS, beside("scores", SCORES)), {"sparsity": 0.75},
        by(lambda _, score: top(score.abs())),
    ),
    "scores in a dictionary": (
        {"model": DENSE, "scores": SCORES}, {"sparsity": 0.75}, by(lambda _, score: top(score.abs())),
    ),
    "flags beside scores": (beside("flag", MASKS, beside("scores", SCORES)), {}, KEPT),
    "flags that say nothing": (
        beside("flag", {name: torch.ones_like(value) for name, value in MASKS.items()}, beside("scores", SCORES)),
        {"sparsity": 0.75}, by(lambda _, score: top(score.abs())),
    ),
    "rounded scores and flags": (
        beside("flag", MASKS, beside("scores", {name: (value > 0).float() for name, value in SCORES.items()})), {},
        {name: KEPT[name] & (SCORES[name].numpy() > 0) for name in SHAPES},
    ),
    "a mask beside scores": (beside("mask", MASKS, beside("scores", SCORES)), {}, KEPT),
    "a stated mask": (beside("keep_map", MASKS), {"mask_key": "keep_map"}, KEPT),
    "a stated score": (
        beside("importance", SCORES), {"score_key": "importance", "sparsity": 0.75},
        by(lambda _, score: top(score.abs())),
    ),
    "the largest values": (
        beside("mask_scores", SCORES), {"score_key": "mask_scores", "sparsity": 0.75, "score_rule": "value"},
        by(lambda _, score: top(score)),
    ),
    "scores above a number": (
        beside("mask_real", SCORES), {"score_key": "mask_real", "score_rule": "0.1"}, by(lambda _, score: score > 0.1)
    ),
    "stated to decide nothing": (beside("moment", SCORES), {"ignore_key": "moment"}, WHOLE),
    "N:M by weights": (DENSE, {"nm": (2, 4)}, by(lambda weight, _: largest_of(weight, 2, 4))),
    "N:M by scores": (beside("scores", SCORES), {"nm": (1, 4)}, by(lambda _, score: largest_of(score, 1, 4))),
    "an average beside the network": ({"model": DENSE, "model_ema": dict(DENSE), "epoch": 3}, {}, WHOLE),
    "a part of a file": ({"a": beside("mask", MASKS), "b": DENSE, "c": dict(DENSE)}, {"part": "a"}, KEPT),
    "Lightning": ({"state_dict": prefixed("model.net.", beside("mask", MASKS)), "callbacks": {}}, {}, KEPT),
    "a compiled module": ({"state_dict": prefixed("module._orig_mod.", beside("mask", MASKS))}, {}, KEPT),
    "NNCF": (beside("pre_ops.0.op._binary_mask", MASKS), {}, KEPT),
    "a mask of channels that a search left": (beside("mutable_channel.mask", ROWS), {}, BY_ROW),
    "masks of filters in order": ({"state_dict": DENSE, "cfg_mask": [m.float() for m in ROWS.values()]}, {}, BY_ROW),
    "a student": ({"student": prefixed("module.backbone.", DENSE), "teacher": dict(DENSE)}, {}, WHOLE),
    "values of before": (beside("init_weight", SCORES), {}, WHOLE),
    "a mask whose ones drop": (
        beside("zeros", {n: 1 - m for n, m in MASKS.items()}), {"mask_key": "zeros", "mask_form": "dropped"}, KEPT,
    ),
    "packed bits": (beside("bits", PACKED), {"mask_key": "bits", "mask_form": "packed"}, KEPT),
    "bits packed by filter": (
        beside("bitmask", {n: torch.from_numpy(np.packbits(m.reshape(len(m), -1), axis=1, bitorder="little"))
                           for n, m in KEPT.items()}), {"mask_key": "bitmask", "mask_form": "packed-little"}, KEPT,
    ),
    "places": (beside("kept_idx", PLACES), {"mask_key": "kept_idx", "mask_form": "places"}, KEPT),
    "places that are dropped, in pairs": (
        beside("gone", {n: (1 - m).nonzero() for n, m in MASKS.items()}),
        {"mask_key": "gone", "mask_form": "dropped-places"}, KEPT,
    ),
    "a mask of blocks": (
        beside("blocks", {"linear.0": torch.tensor([[0.0, 1.0]])}), {"mask_key": "blocks"},
        {**WHOLE, "linear.0": np.tile(np.arange(16) >= 8, (8, 1))},  # noqa: PLR2004
    ),
    "one flat mask of all layers": (
        {"model": DENSE, "bits": torch.from_numpy(np.packbits(np.concatenate([m.flatten() for m in KEPT.values()])))},
        {"mask_key": "bits", "mask_form": "packed"}, KEPT,
    ),
    "steps of a quantiser": (
        beside("alpha", {n: torch.tensor([0.1]) for n in SHAPES},
               beside("init_state", {n: torch.zeros(1) for n in SHAPES}, beside("mask", MASKS))), {}, KEPT,
    ),
}  # fmt: skip


@pytest.fixture
def imported(tmp_path: Path):
    def read(content: object, **options: object) -> ImportedTicket:
        torch.save(content, tmp_path / "checkpoint.pt")
        return import_checkpoint(tmp_path / "checkpoint.pt", ImportOptions(**options))

    return read


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_import_with_their_zeros(imported, name: str) -> None:
    content, options, expected = LAYOUTS[name]
    ticket = imported(content, **options).ticket
    got = {layer.name: unpack_mask(layer) for layer in ticket.layers}
    wrong = {layer: int((got[layer] != expected[layer]).sum()) for layer in SHAPES}
    assert not any(wrong.values()), wrong


SHAPED = "is shaped like the layer's weight, and nobody knows what it does; state --"
WHOLE_NUMBERS = (
    "holds whole numbers of a layer .*; (state --mask-key .*; else )?save a mask of 0 and 1 in the weight's shape in "
    "its place, as "
)
UNKNOWN: dict[str, tuple[object, str]] = {
    "an unknown score": (beside("importance", SCORES), rf"convs\.0\.importance: {SHAPED}score-key importance"),
    "an unknown map of 0 and 1": (beside("m", MASKS), rf"convs\.0\.m: {SHAPED}mask-key m "),
    "scores that only a copy's name has": (beside("best_scores", SCORES), rf"convs\.0\.best_scores: {SHAPED}score-key"),
    "importance that was averaged": (beside("importance_ema", SCORES), rf"convs\.0\.importance_ema: {SHAPED}score-key"),
    "a scale of each weight": (beside("scale", SCORES), rf"convs\.0\.scale: {SHAPED}score-key scale"),
    "a flag alone": (beside("alive", MASKS), rf"convs\.0\.alive: {SHAPED}mask-key alive"),
    "places": (beside("zero_idx", PLACES), rf"convs\.0\.zero_idx: {WHOLE_NUMBERS}convs\.0\.mask"),
    "places by layer": ({"model": DENSE, "kept": {n: p.tolist() for n, p in PLACES.items()}}, WHOLE_NUMBERS),
    "places in pairs": (beside("kept", {n: m.nonzero() for n, m in MASKS.items()}), WHOLE_NUMBERS),
    "places in order": ({"model": DENSE, "filters": [p.tolist() for p in PLACES.values()]}, WHOLE_NUMBERS),
    "packed bits": (beside("bits", PACKED), rf"convs\.0\.bits: {WHOLE_NUMBERS}"),
    "blocks": (beside("blocks", {n: torch.tensor([[0.0, 1.0], [1.0, 0.0]]) for n in SHAPES}), WHOLE_NUMBERS),
    "a filter's flags in order": ({"model": DENSE, "filters": list(ROWS.values())}, rf"filters\.0: {SHAPED}mask-key"),
    "all bits of a network": (
        {"model": DENSE, "zeros": torch.cat([value.flatten() for value in MASKS.values()])},
        "zeros: could say which weights are kept, and belongs to no layer",
    ),
    "a second network of masks": (
        DENSE | {f"alive.{name}.weight": value for name, value in MASKS.items()},
        r"alive\.convs\.0\.weight: is shaped like",
    ),
    "an unknown number": (beside("tau", {n: torch.tensor([0.1]) for n in SHAPES}), "state --threshold-key tau"),
    "real masks": (
        beside("mask_weight", SCORES), r"convs\.0\.mask_weight: has values besides 0 and 1.*--score-key mask_weight",
    ),
    "scores of movement": (beside("mask_scores", SCORES), r"convs\.0\.mask_scores: has values besides 0 and 1"),
    "masks in another order of axes": (
        beside("mask", {n: m.permute(0, 2, 3, 1) for n, m in MASKS.items() if m.ndim == 4}),  # noqa: PLR2004
        r"convs\.0\.mask: shape \(4, 3, 3, 3\)|convs\.2\.mask: shape \(4, 3, 3, 4\) is not the weight's",
    ),
    "masks of odd shape": (beside("mask", {"linear.2": torch.ones(3, 8)}), r"linear\.2\.mask: shape \(3, 8\) is not"),
    "reversed names": (beside("pruned_mask", MASKS), r"pruned_mask: does not say whether its ones keep or drop"),
    "masks of training": (beside("grad_mask", MASKS), r"grad_mask: does not say whether its ones keep or drop"),
    "reversed masks": (
        beside("mask", {n: 1 - m for n, m in MASKS.items()}, {f"{n}.weight": WEIGHTS[n] * m for n, m in MASKS.items()}),
        r"convs\.0\.mask: is 1 just where the weights are 0",
    ),
    "two masks": (
        beside("mask", MASKS, beside("weight_mask", {"convs.0": 1 - MASKS["convs.0"]})), r"is not equal to convs\.0",
    ),
    "unknown thresholds": (
        beside("threshold", {n: torch.rand(len(value)) for n, value in WEIGHTS.items()}),
        "threshold: could be a threshold of the weights",
    ),
    "a stated sparsity": (beside("sparsity", {n: torch.tensor(0.9) for n in SHAPES}), r"sparsity: speaks of pruning"),
    "popup scores": (beside("popup_scores", SCORES), r"convs\.0\.popup_scores: .* state .* zeros with --sparsity"),
    "a dictionary of scores": (
        {"model": DENSE, "saliency": SCORES}, rf"saliency\.convs\.0: {SHAPED}score-key saliency",
    ),
    "masks without owner": (
        {"model": DENSE, "masks": {"a": MASKS["convs.2"]}}, r"masks\.a: is shaped like the weight of 'convs\.2'",
    ),
    "masks alone": (beside("weight", MASKS), "all weights are 0 or 1: these are masks"),
    "one flat mask": (
        {"model": DENSE, "mask": torch.cat([value.flatten() for value in MASKS.values()])},
        "mask: is named after pruning, and belongs to no .*state --mask-key mask if it has the weights of all",
    ),
    "scores alone": (beside("score", SCORES), rf"convs\.0\.score: {SHAPED}"),
    "several networks": (
        {"first": DENSE, "second": dict(DENSE)}, "holds several networks, first, second; state one with --part",
    ),
    "an average of other zeros": (
        {"model": DENSE, "model_ema": {name: value.clamp(min=0) for name, value in DENSE.items()}, "teacher": DENSE},
        "holds several networks, model, model_ema, which keep other weights; state one with --part",
    ),
    "zeros of before": (
        {"model": DENSE, "old": {name: value.clamp(min=0) for name, value in DENSE.items()}},
        "holds several networks, model, old, which keep other weights; state one with --part",
    ),
    "pruned weights of before": (
        beside("weight_old", {name: value.clamp(min=0) for name, value in WEIGHTS.items()}),
        rf"convs\.0\.weight_old: {SHAPED}score-key",
    ),
    "masks of several tasks": (
        {"model": DENSE, "previous_masks": {name: mask.byte() * 2 for name, mask in MASKS.items()}},
        "has values besides 0 and 1",
    ),
    "all bits of a network, packed": (
        {"model": DENSE, "m": torch.from_numpy(np.packbits(np.concatenate([m.flatten() for m in KEPT.values()])))},
        "m: could say which weights are kept",
    ),
    "a pruning history": (
        beside("density", FEW), "density: is named after pruning, and nobody knows",
    ),
    "scores of odd shape": (beside("scores", LINE), r"scores: shape \(4,\) is not the weight's"),
    "scores that are no numbers": (
        beside("scores", {name: value * torch.nan for name, value in SCORES.items()}), "scores: has values that",
    ),
    "soft thresholds of odd shape": (beside("sparseThreshold", FEW), "not those of a threshold"),
    "a rate of nothing": ({"state_dict": beside("scores", SCORES), "prune_rate": 0.0}, "prune_rate: 0 is not above 0"),
    "masks drawn anew": (
        {"model": beside("scores", SCORES), "conv_type": "SampleSubnetConv"}, "its masks are drawn anew at each use",
    ),
    "a bias of two axes": (beside("bias", {"linear.2": torch.rand(8, 1)}), r"linear\.2\.bias: shape \(8, 1\)"),
    "a bias's mask of odd shape": (
        beside("bias_orig", LINE, beside("bias_mask", FEW)), r"bias_mask: shape \(3,\)",
    ),
    "a gain of odd shape": (
        beside("weight_g", FEW, beside("weight_v", WEIGHTS, {})), "its gain has shape",
    ),
    "masks beside freezing": (
        beside("flag", MASKS, beside("mask", MASKS, beside("score", SCORES))),
        r"convs\.0\.flag: stands beside a freezing map",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_knows_is_refused_by_its_name(imported, name: str) -> None:
    content, match = UNKNOWN[name]
    with pytest.raises(TicketError, match=match) as caught:
        imported(content)
    assert "\n" not in str(caught.value)


LIMITS = {name: torch.full((len(value),), 0.3) for name, value in WEIGHTS.items()}
ABOVE = by(lambda weight, _: weight.abs() > 0.3)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (beside("importance", SCORES), by(lambda _, score: score > 0.1)),
        ({"model": DENSE, "saliency": SCORES}, by(lambda _, score: score > 0.1)),
        (beside("mask", SCORES), by(lambda _, score: score > 0.1)),
        (beside("alive", MASKS), KEPT),
        ({"model": DENSE, "filters": list(ROWS.values())}, BY_ROW),
        (beside("pruned_mask", MASKS), KEPT),
        (beside("threshold", LIMITS), ABOVE),
        (beside("cutoff", {name: torch.tensor(0.3) for name in SHAPES}), ABOVE),
        ({"model": DENSE, "thresholds": dict.fromkeys(SHAPES, 0.3)}, ABOVE),
        (beside("zero_idx", PLACES), KEPT),
    ],
)
def test_what_a_refusal_of_a_tensor_advises_gives_its_zeros(imported, content, expected) -> None:
    with pytest.raises(TicketError) as caught:
        imported(content)
    stated = re.search(r"state --(\w+)-key (\S+)", str(caught.value))
    if "save a mask" in str(caught.value):
        found = imported(beside("mask", MASKS))
        assert "state --mask-key zero_idx with --mask-form places" in str(caught.value)
    else:
        rule = {"score_rule": "0.1"} if stated[1] == "score" else {}
        found = imported(content, **{f"{stated[1]}_key": stated[2]}, **rule)
    assert all(np.array_equal(unpack_mask(layer), expected[layer.name]) for layer in found.ticket.layers)


def test_a_stated_sparsity_is_taken_where_the_zeros_confirm_it(imported) -> None:
    zeros = {f"{name}.weight": WEIGHTS[name] * MASKS[name] for name in SHAPES}
    stated = {name: 1 - mask.mean() for name, mask in MASKS.items()}
    assert imported(beside("sparsity", stated, zeros)).kind == "plain"
    notes = imported({"state_dict": DENSE, "hyper_parameters": {"sparsity": 0.9}}).notes
    assert "the file says hyper_parameters.sparsity = 0.9; read are the zeros that it has" in notes


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mask_key": "gone"}, "--mask-key: no tensor of a layer ends with 'gone'"),
        ({"score_key": "gone"}, "--score-key: no tensor of a layer ends with 'gone'"),
        ({"nm": (2, 4)}, r"--nm: the file has its own convs\.0\.mask"),
        ({"ignore_key": "mask", "nm": (2, 5)}, "--nm: no layer has inputs in groups of 5"),
        ({"ignore_key": "mask", "sparsity": 1.5}, "--sparsity: the checkpoint has its own masks or zeros"),
        ({"threshold_key": "gone"}, "--threshold-key: no tensor of a layer ends with 'gone'"),
        ({"mask_key": "odd"}, r"odd: stated as a mask, but belongs to no layer"),
        ({"mask_key": "short"}, r"short: stated as a mask, but shape \(2,\) is not"),
        ({"nm": (5, 4)}, "--nm: 5:4 keeps not 1 to M of M"),
        ({"score_rule": "odd"}, "--score-rule: 'odd' is not allowed"),
        ({"score_rule": "value"}, "--score-rule: the checkpoint has no scores"),
        ({"part": "ema"}, "--part: nothing in the file begins with 'ema'; it has convs, linear"),
        (
            {"mask_key": "weight_scores"},
            "weight_scores: has values besides 0 and 1; .* state --score-key instead",
        ),
    ],
)
def test_statements_that_do_not_fit_are_refused(imported, options: dict[str, object], match: str) -> None:
    extras = {"convs.0.weight_scores": SCORES["convs.0"], "odd": torch.ones(7), "convs.0.short": torch.ones(2)}
    extra = {name: value for name, value in extras.items() if name.rpartition(".")[2] in str(options)}
    with pytest.raises(TicketError, match=match):
        imported(beside("mask", MASKS) | extra, **options)


def test_what_stands_beside_is_named(imported) -> None:
    notes = " / ".join(imported({"model": DENSE, "model_ema": dict(DENSE), "optimizer": OPTIMISER}).notes)
    assert "model_ema (5 tensors), optimizer (2 tensors)" in notes
    assert "the network's names begin with 'model'" in notes


def test_masks_of_constants_are_supermasks_and_those_of_trained_weights_are_not(imported) -> None:
    constants = {f"{name}.weight": torch.sign(value) * 0.1 for name, value in WEIGHTS.items()}
    assert default_format(trace_ticket(imported(beside("mask", MASKS, constants)).ticket)) == "slt"
    assert default_format(trace_ticket(imported(beside("mask", MASKS)).ticket)) == "bitmap-int8"


def test_safetensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({key: value.to(torch.bfloat16) for key, value in beside("mask", MASKS).items()}, path)
    ticket = import_checkpoint(path).ticket
    assert all(np.array_equal(unpack_mask(layer), KEPT[layer.name]) for layer in ticket.layers)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"convs.0.weight": path.name, "gone.weight": path.name}}))
    empty = json.dumps({"a.weight": {"dtype": "F32", "shape": [0, 1 << 63], "data_offsets": [0, 0]}}).encode()
    for name, content, match in (
        (index, index.read_bytes(), r"gone\.weight: not in model\.safetensors; give all files of one save"),
        (path, path.read_bytes()[:-5], "not a safetensors file, or cut off"),
        (path, len(empty).to_bytes(8, "little") + empty, "a tensor's shape is impossible"),
    ):
        name.write_bytes(content)
        with pytest.raises(TicketError, match=match):
            import_checkpoint(name)


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_checkpoint_of_several_files_is_imported_by_its_index(tmp_path: Path, capsys, ending: str) -> None:
    parts: list[State] = [DENSE, {f"{name}.mask": value.clone() for name, value in MASKS.items()}]
    files = [f"model-{number}.{ending}" for number in range(2)]
    for file, part in zip(files, parts, strict=True):
        (torch.save if ending == "bin" else save_file)(dict(part), tmp_path / file)
    index, ticket = tmp_path / f"model.{ending}.index.json", tmp_path / "ticket.pt"
    named = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    index.write_text(json.dumps({"weight_map": named}))
    assert main(["import", str(index), "--out", str(ticket)]) == 0
    assert all(np.array_equal(unpack_mask(layer), KEPT[layer.name]) for layer in read_ticket(ticket).layers)
    assert main(["import", str(tmp_path), "--out", str(ticket)]) == 2
    assert f"is a folder; give the checkpoint in it: {index}" in capsys.readouterr().err
    index.write_text(json.dumps({"weight_map": dict.fromkeys(named, f"../{files[0]}")}))
    with pytest.raises(TicketError, match="names files that do not lie beside it"):
        import_checkpoint(index)


def test_averaged_and_normed_modules_are_read(imported) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False), torch.nn.ReLU(), torch.nn.Linear(3, 2, bias=False))
    for index in (0, 2):
        parametrizations.weight_norm(module[index])
    state = AveragedModel(module).state_dict()
    state = {key.replace("module.", "module.linears."): value for key, value in state.items()}
    found = imported(state)
    assert [layer.shape for layer in found.ticket.layers] == [(3, 4), (2, 3)]
    assert "n_averaged" in " ".join(found.notes)


class Held:
    """Stands for any object of another program."""


def advised(text: str, names: dict[str, object]) -> None:
    """Do what a refusal advises."""
    exec(text, {"torch": torch, **names})


@pytest.mark.parametrize(
    ("held", "match", "advice"),
    [
        ({"state_dict": DENSE, "args": argparse.Namespace(rate=1)}, r"a Python object \(argparse\.Namespace\)", None),
        ({"state_dict": DENSE, "odd": Held()}, r"a Python object \(.*Held\) beside tensors", None),
        ({"state_dict": DENSE, "best": np.float64(1)}, r"NumPy values \(numpy", None),
        (torch.nn.Sequential(torch.nn.Linear(3, 2)), "a whole module", "torch.save(module.state_dict(), FILE)"),
        ({"convs.0.weight": WEIGHTS["convs.0"].to_sparse()}, "a sparse tensor", "tensor.to_dense()"),
        ({"a.weight": torch.zeros(2, 3, dtype=torch.complex64)}, "complex numbers", "torch.view_as_real(tensor)"),
        ({"a.weight": torch.zeros(2, 3).to(torch.float8_e4m3fn)}, "numbers of 8 bits", "tensor.float()"),
    ],
)
def test_advice_of_refusals_works(imported, tmp_path: Path, held: object, match: str, advice: str | None) -> None:
    with pytest.raises(TicketError, match=match) as caught:
        imported(held)
    old, new = tmp_path / "checkpoint.pt", tmp_path / "new.pt"
    told = advice or "torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW)"
    assert told in str(caught.value)
    if "tensor" in told:
        advised(
            f"torch.save({{key: {told} for key, tensor in torch.load(FILE).items()}}, NEW)", {"FILE": old, "NEW": new}
        )
    else:
        advised(told, {"FILE": old if advice is None else new, "NEW": new, "module": held})
    with pytest.raises(TicketError, match="fit no known network|is missing") if advice else nullcontext():
        import_checkpoint(new)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_archives_of_torch_are_named(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    torch.jit.script(module).save(tmp_path / "script.pt")
    with pytest.raises(TicketError, match="a TorchScript archive; save its state_dict") as caught:
        import_checkpoint(tmp_path / "script.pt")
    names = {"FILE": str(tmp_path / "script.pt"), "NEW": tmp_path / "new.pt"}
    advised(str(caught.value).partition("instead: ")[2], names)
    assert list(torch.load(tmp_path / "new.pt")) == ["0.weight", "0.bias"]
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(TicketError, match="an ONNX file, which has no masks; give it as --graph"):
        import_checkpoint(tmp_path / "model.onnx")
