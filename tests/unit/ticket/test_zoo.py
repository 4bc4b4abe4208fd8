import pytest

from accelsim.errors import TicketError
from accelsim.ticket.shapes import count_parameters, count_weights
from accelsim.ticket.zoo import build_network

# Parameters of the trained, dense network (weights, biases, affine norms) as their sources state them:
# torchvision's model table; the CIFAR forms as the widely used PyTorch CIFAR collection prints them.
PUBLISHED = {
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50-cifar": 23_520_842,
    "resnet101-cifar": 42_512_970,
    "resnet18-imagenet": 11_689_512,
    "resnet34-imagenet": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "wide_resnet50_2": 68_883_240,
}


@pytest.mark.parametrize(("name", "expected"), PUBLISHED.items())
def test_parameter_count_is_the_published_one(name: str, expected: int) -> None:
    assert count_parameters(build_network(name, trained=True)) == expected


def test_conv6_weights_are_those_of_the_literature() -> None:
    assert count_weights(build_network("conv6")) == 2_261_184


def test_names_follow_the_authors_code() -> None:
    names = {node.name for node in build_network("resnet18").nodes}
    assert {"conv1", "layer1.0.conv1", "layer2.0.shortcut.0", "linear"} <= names
    assert "layer1.0.shortcut.0" not in names


def test_width_factor_scales_hidden_channels_only() -> None:
    graph = build_network("conv6", width_factor=0.25, num_classes=7)
    assert graph.node("convs.0").out_channels == 16
    assert graph.node("linears.2").out_channels == 7


def test_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(TicketError, match="network 'resnet81' is unknown; did you mean resnet18"):
        build_network("resnet81")


def test_too_small_input_names_the_node() -> None:
    with pytest.raises(TicketError, match=r"pools\.2"):
        build_network("conv6", input_shape=(3, 4, 4))
