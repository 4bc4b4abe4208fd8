"""What may decide which weights are kept, and nobody knows how, is refused by its name; what a refusal says works."""

import re

import numpy as np
import pytest
import torch

from accelsim.errors import TicketError
from accelsim.ticket.pack import unpack_mask
from tests.unit.ticket.checkpoint_parts import (
    BY_ROW,
    DENSE,
    FEW,
    KEPT,
    LINE,
    MASKS,
    PACKED,
    PLACES,
    ROWS,
    SCORES,
    SHAPES,
    WEIGHTS,
    beside,
    by,
)

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
