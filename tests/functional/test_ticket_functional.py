"""A ticket computes what the network that it was made from computes."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from accelsim.ticket.file import read_ticket, write_ticket
from accelsim.ticket.graph import GraphNode
from accelsim.ticket.importers import import_checkpoint
from accelsim.ticket.model import Ticket
from accelsim.ticket.pack import unpack_weights


class FrozenConv(nn.Conv2d):
    """A convolution with the buffers of a partially frozen supermask."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
        draw = torch.rand(self.weight.shape)
        self.weight.data = torch.sign(self.weight.data) * 0.1
        self.register_buffer("ternary_frozen_mask", torch.where(draw < 0.4, -1.0, torch.where(draw < 0.6, 1.0, 0.0)))
        free = torch.rand(self.weight.shape) < 0.4
        self.register_buffer(
            "mask", ((self.ternary_frozen_mask == 1) | ((self.ternary_frozen_mask == 0) & free)).float()
        )
        self.register_buffer("scale", torch.tensor([1.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.weight * self.mask * self.scale, None, self.stride, self.padding)


class Block(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = (
            FrozenConv(channels_in, channels_out, 3, stride),
            nn.BatchNorm2d(channels_out, affine=False),
        )
        self.conv2, self.bn2 = FrozenConv(channels_out, channels_out, 3), nn.BatchNorm2d(channels_out, affine=False)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                FrozenConv(channels_in, channels_out, 1, stride), nn.BatchNorm2d(channels_out, affine=False)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(out + self.shortcut(x))


class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1, self.bn1 = FrozenConv(3, width, 3), nn.BatchNorm2d(width, affine=False)
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        for stage in range(4):
            first = Block(widths[stage], widths[stage + 1], 1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, Block(widths[stage + 1], widths[stage + 1], 1)))
        self.linear = FrozenConv(8 * width, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(x.mean(dim=(2, 3), keepdim=True)).flatten(1)


def run(ticket: Ticket, image: torch.Tensor) -> torch.Tensor:
    """Walk a ticket's graph with decoded weights; normalisations are part of the scales."""
    values = {"input": image}
    layers = {layer.name: layer for layer in ticket.layers}
    for node in ticket.graph.nodes[1:]:
        inputs = [values[name] for name in node.inputs]
        values[node.name] = step(node, inputs, layers.get(node.name))
    return values[ticket.graph.nodes[-1].name]


def step(node: GraphNode, inputs: list[torch.Tensor], layer) -> torch.Tensor:
    if layer is not None:
        weight = torch.from_numpy(unpack_weights(layer).astype("float32"))
        scale, offset = (torch.from_numpy(values.astype("float32")) for values in (layer.scale_K, layer.offset_K))
        if node.kind == "linear":
            return inputs[0] @ weight.T * scale + offset
        out = functional.conv2d(inputs[0], weight, None, node.stride, node.padding)
        return out * scale[:, None, None] + offset[:, None, None]
    if node.kind == "add":
        return inputs[0] + inputs[1]
    if node.kind == "activation":
        return functional.relu(inputs[0])
    return inputs[0].mean(dim=(2, 3)) if node.kind == "global_pool" else inputs[0]


def test_an_imported_resnet_gives_the_outputs_of_its_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net(torch.randn(16, 3, 32, 32))  # running statistics
        net.eval()
        torch.save(net.state_dict(), tmp_path / "checkpoint.pt")
        write_ticket(tmp_path / "ticket.pt", import_checkpoint(tmp_path / "checkpoint.pt").ticket)
        image = torch.randn(4, 3, 32, 32)
        expected, found = net(image), run(read_ticket(tmp_path / "ticket.pt"), image)
    # float16 scales and offsets in 20 layers one after the other.
    assert (found - expected).abs().max() < 0.01 * expected.abs().max()
    assert torch.equal(found.argmax(1), expected.argmax(1))
