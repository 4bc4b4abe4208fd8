"""Integer inference of a committed ticket reproduces its accuracy; that of another mask does not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from accelsim.slt.network import apply_weight
from accelsim.ticket.file import read_ticket
from accelsim.ticket.graph import GraphNode
from accelsim.ticket.pack import pack_layer, random_mask, unpack_frozen
from accelsim.validation import verify_inference
from accelsim.validation.int8_sums import convolve, int8_matrix
from accelsim.validation.verify_inference import IntegerNetwork, data_of, verify_accuracy

TICKET = Path(__file__).resolve().parents[2] / "workloads" / "conv6_slt_f70.pt"


@pytest.fixture(scope="module")
def ticket():
    return read_ticket(TICKET)


@pytest.fixture(scope="module")
def data(ticket):
    whole = data_of(ticket)
    # A hundred images to calibrate with.
    return replace(whole, train_images=whole.train_images[::40], train_labels=whole.train_labels[::40])


def test_integer_inference_agrees_with_float_on_the_same_images(ticket, data):
    found = verify_accuracy(ticket, data, 60)

    assert found.problem is None
    assert found.num_images == 60
    assert found.accuracy > 0.9
    assert found.num_changed <= 1


def test_another_mask_of_the_same_statistics_does_not_reproduce_the_accuracy(ticket, data):
    layers = []
    for layer in ticket.layers:
        frozen = unpack_frozen(layer)
        density = (layer.num_kept - layer.num_locked) / max(1, layer.num_free)
        mask = random_mask(frozen, density, 99)
        layers.append(
            pack_layer(layer.name, layer.shape, layer.source, mask, layer.codec, layer.scale_K, layer.offset_K)
        )
    small = replace(data, test_images=data.test_images[::40], test_labels=data.test_labels[::40])

    found = verify_accuracy(replace(ticket, layers=tuple(layers)), small)

    assert found.accuracy < 0.5
    assert "integer inference gets" in found.problem


def test_weighted_layers_sum_int8_codes_exactly(ticket, data, monkeypatch):
    network = IntegerNetwork(ticket, None, list(data.calibration_batches())[:1])
    seen = []

    def linear(node, codes, weight):
        seen.append((node.name, codes, weight))
        return apply_weight(node, codes, weight)

    def convolution(node, codes, matrix):
        weight = matrix.view(*node.kernel, -1, matrix.shape[1]).permute(3, 2, 0, 1).double()
        sums = convolve(node, codes, matrix)
        assert torch.equal(sums.double(), apply_weight(node, codes.double(), weight))
        seen.append((node.name, codes, weight))
        return sums

    monkeypatch.setattr(verify_inference, "apply_weight", linear)
    monkeypatch.setattr(verify_inference, "convolve", convolution)
    network.run(data.test_images[:4])

    assert [name for name, _, _ in seen] == [layer.name for layer in ticket.layers]
    for _, codes, weight in seen:
        assert torch.equal(codes, codes.round())
        assert float(codes.abs().max()) <= 127
        assert torch.equal(weight, weight.round())


@pytest.mark.parametrize(("stride", "padding", "dilation"), [((2, 1), (1, 0), (1, 2)), ((1, 2), (0, 3), (2, 1))])
def test_convolutions_of_int8_take_every_window(stride, padding, dilation):
    node = GraphNode("c", "conv2d", ("x",), (), 5, kernel=(3, 2), stride=stride, padding=padding, dilation=dilation)
    codes = torch.randint(-127, 128, (2, 3, 11, 9)).float()
    weights = torch.randint(-63, 64, (5, 3, 3, 2)).float()

    assert torch.equal(convolve(node, codes, int8_matrix(node, weights)).float(), apply_weight(node, codes, weights))


def test_a_part_of_the_images_is_compared_with_the_stored_accuracy_too(ticket, data):
    """40 images of an accuracy of 0.6 may come out at most 0.01 + 3 sqrt(0.24 / 40) = 0.24 away."""
    found = verify_accuracy(replace(ticket, accuracy=0.6), data, 40)

    assert found.stored_accuracy == 0.6
    assert "the ticket 0.6000; they may differ by 0.24" in found.problem
