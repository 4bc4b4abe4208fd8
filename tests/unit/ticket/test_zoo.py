import pytest

from accelsim.errors import TicketError
from accelsim.ticket.shapes import count_parameters, count_weights
from accelsim.ticket.zoo import build_network, list_networks
from accelsim.trace import trace_graph

# Parameters of the trained, dense network (weights, biases, affine norms) as their sources state them:
# torchvision's and timm's model tables; the CIFAR forms as the widely used PyTorch CIFAR collection prints them; OGB's
# leader board (GCN); PyTorch's DCGAN tutorial; EDSR's code without its mean shifts; GPT-2 small: 12 blocks, embeddings
# of 50,257 tokens and 1,024 positions and a last norm make 124,439,808.
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
    "vgg16": 138_357_544,
    "mobilenet_v2": 3_504_872,
    "vit_tiny": 5_717_416,
    "vit_small": 22_050_664,
    "deit_tiny": 5_717_416,
    "deit_small": 22_050_664,
    "deit_base": 86_567_656,
    "gcn_ogbn_arxiv": 110_120,
    "dcgan_generator": 3_576_704,
    "edsr": 1_369_859,
    "edsr_large": 40_729_603,
    "decoder_block": (124_439_808 - 50_257 * 768 - 1_024 * 768 - 2 * 768) // 12,
}


@pytest.mark.parametrize(("name", "expected"), PUBLISHED.items())
def test_parameter_count_is_the_published_one(name: str, expected: int) -> None:
    assert count_parameters(build_network(name, trained=True)) == expected


def test_conv6_weights_are_those_of_the_literature() -> None:
    assert count_weights(build_network("conv6")) == 2_261_184


def test_gin_weights_are_those_of_the_paper() -> None:
    assert count_weights(build_network("gin_ogbn_arxiv")) == 128 * 386 + 2 * 386 * 386 + 2 * 386 * 40


def test_every_network_builds_in_both_forms_and_traces() -> None:
    for info in list_networks():
        for trained in (False, True):
            graph = build_network(info.name, trained=trained)
            names = [layer.name for layer in trace_graph(graph).layers]
            assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "macs"),
    # torchvision's table (GFLOPS column: multiply-accumulates) to its printed precision, and ViT's by hand:
    # 12 blocks of 197 x (12 d^2) + 2 x 197^2 x d, patches and head.
    [("mobilenet_v2", 0.30e9), ("vgg16", 15.47e9), ("vit_small", 4.60e9), ("wide_resnet50_2", 11.40e9)],
)
def test_macs_are_the_published_ones(name: str, macs: float) -> None:
    layers = trace_graph(build_network(name, trained=True)).layers
    assert sum(layer.dims.macs for layer in layers if layer.uses_array) == pytest.approx(macs, rel=0.01)


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
