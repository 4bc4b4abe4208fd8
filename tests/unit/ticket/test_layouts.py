"""Where public code puts its masks: each layout imports with its zeros."""

import numpy as np
import pytest
import torch

from accelsim.storage.default import default_format
from accelsim.ticket.pack import unpack_mask
from accelsim.trace import trace_ticket
from tests.unit.ticket.checkpoint_parts import (
    BY_ROW,
    CHANNELS,
    DENSE,
    KEPT,
    LINE,
    MASKS,
    OPTIMISER,
    PACKED,
    PLACES,
    ROWS,
    SCORES,
    SHAPES,
    WEIGHTS,
    WHOLE,
    beside,
    by,
    flat_masks,
    largest_of,
    prefixed,
    pruned,
    threshold_of,
    top,
)

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


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_import_with_their_zeros(imported, name: str) -> None:
    content, options, expected = LAYOUTS[name]
    ticket = imported(content, **options).ticket
    got = {layer.name: unpack_mask(layer) for layer in ticket.layers}
    wrong = {layer: int((got[layer] != expected[layer]).sum()) for layer in SHAPES}
    assert not any(wrong.values()), wrong


def test_a_stated_sparsity_is_taken_where_the_zeros_confirm_it(imported) -> None:
    zeros = {f"{name}.weight": WEIGHTS[name] * MASKS[name] for name in SHAPES}
    stated = {name: 1 - mask.mean() for name, mask in MASKS.items()}
    assert imported(beside("sparsity", stated, zeros)).kind == "plain"
    notes = imported({"state_dict": DENSE, "hyper_parameters": {"sparsity": 0.9}}).notes
    assert "the file says hyper_parameters.sparsity = 0.9; read are the zeros that it has" in notes


def test_what_stands_beside_is_named(imported) -> None:
    notes = " / ".join(imported({"model": DENSE, "model_ema": dict(DENSE), "optimizer": OPTIMISER}).notes)
    assert "model_ema (5 tensors), optimizer (2 tensors)" in notes
    assert "the network's names begin with 'model'" in notes


def test_masks_of_constants_are_supermasks_and_those_of_trained_weights_are_not(imported) -> None:
    constants = {f"{name}.weight": torch.sign(value) * 0.1 for name, value in WEIGHTS.items()}
    assert default_format(trace_ticket(imported(beside("mask", MASKS, constants)).ticket)) == "slt"
    assert default_format(trace_ticket(imported(beside("mask", MASKS)).ticket)) == "bitmap-int8"
