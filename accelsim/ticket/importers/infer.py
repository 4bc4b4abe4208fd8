"""Which network a checkpoint belongs to, from the names and shapes of its layers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from accelsim.errors import TicketError
from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import PARAMETRIC_KINDS, NetworkGraph
from accelsim.ticket.shapes import weight_shapes
from accelsim.ticket.zoo import build_network, list_networks
from accelsim.ticket.zoo.graphs import OGBN_ARXIV_EDGES, OGBN_ARXIV_SHAPE, GraphNetShape, build_gin
from accelsim.ticket.zoo.resnet import ResNetNames, ResNetShape, build_resnet
from accelsim.ticket.zoo.spec import NetworkSpec, scaled

Shape = tuple[int, ...]

_CHAIN = re.compile(r"(convs|features)\.\d+$|(linears?|fcs?|classifier)\.\d+$")
_RESNET = re.compile(r"layer([1-9])\.(\d+)\.conv1$")
_RESNET_DEPTHS: dict[tuple[tuple[int, ...], int], str] = {
    ((2, 2, 2, 2), 1): "resnet18", ((3, 4, 6, 3), 1): "resnet34",
    ((3, 4, 6, 3), 4): "resnet50", ((3, 4, 23, 3), 4): "resnet101", ((3, 8, 36, 3), 4): "resnet152",
}  # fmt: skip
_MNIST_NAMES = {"conv1", "conv2", "fc1", "fc2"}
_POOLED_EVERY = 2
_VGG_SMALL_CONVS = 6
_SMALL_STEM = 3
_SMALL_STAGES = 3
_MAX_STAGES = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user stated, and what else the checkpoint says.

    ``norm_after`` maps a weighted layer to the batch normalisation that follows it in the file.
    """

    network: str | None = None
    width_factor: float | None = None
    input_shape: Shape | None = None
    norm_after: Mapping[str, str] = field(default_factory=dict)
    num_edges: int | None = None


def infer_graph(where: str, shapes: Mapping[str, Shape], norm_names: Collection[str], wanted: Wanted) -> NetworkGraph:
    """Return the layer graph of a checkpoint.

    Parameters
    ----------
    where
        Path, for error texts.
    shapes
        Weight shapes by layer name, in order.
    norm_names
        Names of the batch normalisations in the file.
    wanted
        What the user stated.

    Raises
    ------
    TicketError
        The names fit no known network, or another one than stated.
    """
    is_gin = any(name.startswith("ginlayers.") for name in shapes)
    is_resnet = any(_RESNET.fullmatch(name) for name in shapes)
    if is_gin or is_resnet or _is_chain(shapes):
        _check_ranks(where, shapes)
    if is_gin:
        graph = _gin(where, shapes, norm_names, wanted)
    elif is_resnet:
        graph = _resnet(where, shapes, wanted)
    elif _is_chain(shapes):
        graph = _chain(where, shapes, wanted)
    elif set(shapes) == _MNIST_NAMES and wanted.network is None:
        return _mnist_example(where, shapes, wanted)
    else:
        return _from_zoo(where, shapes, wanted)
    if wanted.network is not None:
        _check_stated(where, graph, wanted.network)
        _check_stem(where, shapes, wanted.network)
    if wanted.width_factor is not None:
        if is_gin:
            raise TicketError(
                f"{where}: --width-factor: the features of a GIN are found from its shapes; leave the option out"
            )
        _check_width(where, shapes, wanted.width_factor)
    return graph


def _check_ranks(where: str, shapes: Mapping[str, Shape]) -> None:
    """Raise `TicketError` if the weight of a convolution has no four dimensions."""
    for name, shape in shapes.items():
        if any(part in name for part in ("conv", ".downsample.", ".shortcut.")) and len(shape) != 4:
            raise TicketError(
                f"{where}: layer {name!r}: its weight has {len(shape)} dimensions, not 4; the file is damaged"
            )


def _check_width(where: str, shapes: Mapping[str, Shape], width_factor: float) -> None:
    """Compare the stated width with the first convolution's 64 channels, or 16 of a ResNet of three stages."""
    name, shape = next(iter(shapes.items()))
    is_small = "layer3.0.conv1" in shapes and "layer4.0.conv1" not in shapes
    base = 16 if is_small else 64
    expected = scaled(base, width_factor)
    if len(shape) == 4 and shape[0] != expected:
        raise TicketError(
            f"{where}: layer {name!r} has {shape[0]} filters, width_factor {width_factor:g} gives {expected}; "
            f"state --width-factor {shape[0] / base:g}"
        )


def _check_stem(where: str, shapes: Mapping[str, Shape], network: str) -> None:
    """Compare a stated ``_cifar`` or ``_imagenet`` with the size of a ResNet's first filter."""
    is_small = "conv1" in shapes and shapes["conv1"][2] == _SMALL_STEM
    for ending, fits in (("_imagenet", not is_small), ("_cifar", is_small)):
        if network.lower().replace("-", "_").endswith(ending) and not fits:
            size = "x".join(str(side) for side in next(iter(shapes.values()))[2:])
            raise TicketError(
                f"{where}: --network {network}: its stem has {size} filters, which are not those of this form; "
                f"state --network {network[: -len(ending)]}"
            )


def _check_stated(where: str, graph: NetworkGraph, network: str) -> None:
    stated = network.lower().replace("-", "_").removesuffix("_cifar").removesuffix("_imagenet")
    aliases = {graph.name, graph.name.replace("gin_ogbn_arxiv", "gin")}
    if re.fullmatch(r"wide_resnet\d+", graph.name):
        aliases.add(graph.name.removeprefix("wide_"))
    if stated not in aliases:
        if not re.fullmatch(r"resnet(20|32|44|56|110|152)", stated):
            build_network(network)  # an unknown name is the better message
        raise TicketError(f"{where}: its layers are those of {graph.name}, not {network}; state --network {graph.name}")


def _need(where: str, shapes: Mapping[str, Shape], name: str) -> Shape:
    if name not in shapes:
        raise TicketError(f"{where}: layer {name!r} is missing; the checkpoint is incomplete or of another network")
    return shapes[name]


def _gin(where: str, shapes: Mapping[str, Shape], norm_names: Collection[str], wanted: Wanted) -> NetworkGraph:
    layers = [name for name in shapes if re.fullmatch(r"ginlayers\.\d+\.linear", name)]
    first = _need(where, shapes, "ginlayers.0.linear")
    head = _need(where, shapes, "linears_prediction")
    shape = GraphNetShape(
        hidden=head[1],
        num_layers=len(layers),
        num_edges=wanted.num_edges or OGBN_ARXIV_EDGES,
        has_norms="norms.0" in norm_names,
    )
    given = wanted.input_shape
    if given is not None and (len(given) != len(OGBN_ARXIV_SHAPE) or given[1] != first[1]):
        raise TicketError(
            f"{where}: --input-shape: {','.join(map(str, given))} is not (nodes, features) with the {first[1]} "
            f"features of ginlayers.0.linear; state NODES,{first[1]}"
        )
    nodes = (given or OGBN_ARXIV_SHAPE)[0]
    return build_gin(shape, NetworkSpec("gin_ogbn_arxiv", head[0], (nodes, first[1])))


def _resnet(where: str, shapes: Mapping[str, Shape], wanted: Wanted) -> NetworkGraph:
    """Return a ResNet with the stages, blocks and widths of the file."""
    blocks = _stage_blocks(where, shapes)
    stem = _need(where, shapes, "conv1")
    expansion = 4 if "layer1.0.conv3" in shapes else 1
    last_conv = "conv3" if expansion > 1 else "conv1"
    planes = tuple(
        max(1, _need(where, shapes, f"layer{stage}.0.{last_conv}")[0] // expansion)
        for stage in range(1, len(blocks) + 1)
    )
    inner = _need(where, shapes, "layer1.0.conv1")[0]
    shape = ResNetShape(blocks, expansion, max(1, inner // planes[0]), planes)
    head = next((name for name in ("linear", "fc", "classifier") if name in shapes), None)
    if head is None:
        raise TicketError(
            f"{where}: layer 'linear' or 'fc' is missing; the checkpoint is incomplete or of another network"
        )
    if len(blocks) == _SMALL_STAGES and shapes[head][1] != planes[-1] * expansion:
        raise TicketError(f"{where}: layer 'layer4.0.conv1' is missing: {head!r} takes {shapes[head][1]} channels")
    cut = "downsample" if any(".downsample." in name for name in shapes) else "shortcut"
    is_small = stem[2] == _SMALL_STEM
    size = 32 if is_small else 224
    name = _resnet_name(where, shape, stem[0])
    spec = NetworkSpec(name, shapes[head][0], wanted.input_shape or (stem[1], size, size), stem[0] / 64)
    return build_resnet(shape, spec, ResNetNames(cut, head, is_small))


def _stage_blocks(where: str, shapes: Mapping[str, Shape]) -> tuple[int, ...]:
    blocks: dict[int, int] = {}
    for match in filter(None, map(_RESNET.fullmatch, shapes)):
        stage = int(match[1])
        if stage > _MAX_STAGES:
            raise TicketError(
                f"{where}: layer {match[0]!r}: a ResNet has at most four stages; the checkpoint is of another network"
            )
        blocks[stage] = max(blocks.get(stage, 0), int(match[2]) + 1)
    for stage in range(1, max(_SMALL_STAGES, *blocks) + 1):
        if stage not in blocks:
            raise TicketError(
                f"{where}: layer 'layer{stage}.0.conv1' is missing; a ResNet has four stages, a small one three"
            )
    return tuple(blocks[stage] for stage in sorted(blocks))


def _resnet_name(where: str, shape: ResNetShape, stem_channels: int) -> str:
    """Return the name of a ResNet: 6 n + 2 layers in three stages (He et al. 2016, section 4.2), or one of the zoo."""
    blocks = shape.blocks
    name = _RESNET_DEPTHS.get((blocks, shape.expansion))
    if len(blocks) == _SMALL_STAGES and shape.expansion == 1 and len(set(blocks)) == 1:
        name = f"resnet{2 * sum(blocks) + 2}"
    if name is None:
        raise TicketError(
            f"{where}: stages of {list(blocks)} blocks are those of no ResNet known here; a block is missing, or left "
            "over"
        )
    if shape.bottleneck_width == 2 and shape.expansion > 1:  # noqa: PLR2004  its name says so
        return f"wide_{name}_2"
    doubled = tuple(stem_channels << stage for stage in range(len(blocks)))
    return name if shape.planes == doubled else f"wide_{name}"


def _is_chain(shapes: Mapping[str, Shape]) -> bool:
    first = next(iter(shapes)).split(".")[0]
    return first in ("convs", "linears", "linear") and all(_CHAIN.fullmatch(name) for name in shapes)


def _chain(where: str, shapes: Mapping[str, Shape], wanted: Wanted) -> NetworkGraph:
    """Return Conv-2/4/6/8 or a multilayer perceptron: pairs of convolutions and a pool, then linear layers."""
    _check_chain_complete(where, shapes)
    convs = [name for name, shape in shapes.items() if name.startswith("convs.")]
    linears = [name for name in shapes if name not in convs]
    if not linears or len(convs) % _POOLED_EVERY:
        raise TicketError(
            f"{where}: {len(convs)} convolutions and {len(linears)} linear layers; a Conv-N has pairs and three"
        )
    builder = GraphBuilder(_chain_name(convs, linears), _chain_input(where, shapes, convs, linears, wanted))
    x = "input"
    for index, name in enumerate(convs):
        x = builder.conv(name, x, shapes[name][0], (shapes[name][2], shapes[name][3]))
        is_pooled, pool = index % _POOLED_EVERY == 1, f"pools.{index // _POOLED_EVERY}"
        pools_first = is_pooled and _pools_before_norm(name, wanted.norm_after.get(name))
        if pools_first:
            x = builder.pool(pool, x, 2)
        x = _norm_and_relu(builder, x, name, wanted)
        if is_pooled and not pools_first:
            x = builder.pool(pool, x, 2)
    x = builder.flatten("flatten", x)
    for name in linears:
        x = builder.linear(name, x, shapes[name][0])
        if name != linears[-1]:
            x = _norm_and_relu(builder, x, name, wanted)
    return builder.build()


def _chain_name(convs: Sequence[str], linears: Sequence[str]) -> str:
    if not convs:
        return "mlp"
    return "vgg_small" if len(linears) == 1 and len(convs) == _VGG_SMALL_CONVS else f"conv{len(convs)}"


def _pools_before_norm(conv: str, norm: str | None) -> bool:
    """Return whether a place for the pool lies between a convolution and its normalisation, as in biprop's BinAct."""
    if norm is None or conv.rpartition(".")[0] != norm.rpartition(".")[0]:
        return False
    return int(norm.rpartition(".")[2]) - int(conv.rpartition(".")[2]) > 1


def _mnist_example(where: str, shapes: Mapping[str, Shape], wanted: Wanted) -> NetworkGraph:
    """Return the network of the MNIST example of PyTorch and of hidden-networks: two convolutions, two linear."""
    channels = _need(where, shapes, "conv1")[1]
    builder = GraphBuilder("mnist_cnn", wanted.input_shape or (channels, 28, 28))
    x = "input"
    for name in ("conv1", "conv2"):
        shape = _need(where, shapes, name)
        if len(shape) != 4:  # noqa: PLR2004
            raise TicketError(
                f"{where}: layer {name!r}: its weight has {len(shape)} dimensions, not 4; file is damaged"
            )
        x = builder.conv(name, x, shape[0], (shape[2], shape[3]), padding=0)
        x = builder.activation(f"{name}.relu", x)
    x = builder.flatten("flatten", builder.pool("pool", x, 2))
    x = builder.activation("fc1.relu", builder.linear("fc1", x, shapes["fc1"][0]))
    builder.linear("fc2", x, shapes["fc2"][0])
    return builder.build()


def _chain_names(num_convs: int) -> Iterator[frozenset[str]]:
    """Yield the layer names that code bases give a Conv-N: lists, sequences with ReLU and pool, and with norms too."""
    pairs = range(num_convs // _POOLED_EVERY)
    for places, heads in (
        (range(num_convs), (0, 1, 2)),
        ([5 * block + inner for block in pairs for inner in (0, 2)], (0, 2, 4)),
        ([7 * block + inner for block in pairs for inner in (0, 3)], (0, 2, 4)),
        ([7 * block + inner for block in pairs for inner in (0, 3)], (0, 3, 6)),
    ):
        for head in ("linears", "linear"):
            yield frozenset({f"convs.{place}" for place in places} | {f"{head}.{place}" for place in heads})


def _check_chain_complete(where: str, shapes: Mapping[str, Shape]) -> None:
    """Name the missing layer of a Conv-N whose other layers have the usual names."""
    found = frozenset(shapes)
    if not any(name.startswith("convs.") for name in found):
        return
    candidates = [names for num_convs in (2, 4, 6, 8) for names in _chain_names(num_convs) if found <= names]
    if candidates and found not in candidates:
        heads = {name.partition(".")[0] for name in found} - {"convs"}
        missing = min(
            (names - found for names in candidates),
            key=lambda names: (len(names), not heads and "linear.0" in names, sorted(names)),
        )
        raise TicketError(f"{where}: layer {min(missing)!r} is missing; the checkpoint is incomplete")


def _norm_and_relu(builder: GraphBuilder, x: str, name: str, wanted: Wanted) -> str:
    if name in wanted.norm_after:
        x = builder.norm(wanted.norm_after[name], x)
    return builder.activation(f"{name}.relu", x)


def _chain_input(
    where: str, shapes: Mapping[str, Shape], convs: Sequence[str], linears: Sequence[str], wanted: Wanted
) -> Shape:
    """Return the input shape; the first linear layer tells the size of the last map, and so of the image."""
    if wanted.input_shape is not None:
        return wanted.input_shape
    features = shapes[linears[0]][1]
    if not convs:
        return (features,)
    pixels, rest = divmod(features, shapes[convs[-1]][0])
    size = round(pixels**0.5)
    if rest or size * size != pixels:
        raise TicketError(
            f"{where}: layer {linears[0]!r}: {features} inputs are no square maps of {shapes[convs[-1]][0]} channels; "
            "state --input-shape, unless a convolution is missing"
        )
    side = size << (len(convs) // _POOLED_EVERY)
    return (shapes[convs[0]][1], side, side)


def _from_zoo(where: str, shapes: Mapping[str, Shape], wanted: Wanted) -> NetworkGraph:
    if wanted.network is not None:
        return _built(wanted.network, shapes, wanted)
    named = [info.name for info in list_networks() if set(weight_shapes(build_network(info.name))) == set(shapes)]
    built = [_built(name, shapes, wanted) for name in named]
    for graph in built:
        if all(shapes[name] in (shape, (*shape, 1, 1)) for name, shape in weight_shapes(graph).items()):
            return graph
    if built:
        return built[0]
    first = next(iter(shapes))
    raise TicketError(
        f"{where}: layers such as {first!r} fit no known network; state --network (see "
        "'accelsim list'), or give the exported module (.pt2, .onnx) with --graph"
    )


def _built(network: str, shapes: Mapping[str, Shape], wanted: Wanted) -> NetworkGraph:
    return build_network(
        network,
        input_shape=wanted.input_shape,
        width_factor=wanted.width_factor or 1.0,
        num_classes=_stated_classes(shapes, network),
    )


def _stated_classes(shapes: Mapping[str, Shape], network: str) -> int | None:
    """Return the outputs of the last weighted layer of a network that has classes."""
    key = network.lower().replace("-", "_")
    if not any(info.name.replace("-", "_") == key and info.num_classes for info in list_networks()):
        return None
    last = [node for node in build_network(network).nodes if node.kind in PARAMETRIC_KINDS][-1]
    shape = shapes.get(last.name, list(shapes.values())[-1])
    return shape[1 if last.kind == "conv_transpose2d" else 0]
