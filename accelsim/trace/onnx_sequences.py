"""ONNX operators over sequences: recurrent layers; attention is in `accelsim.trace.onnx_attention`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from accelsim.errors import TraceError
from accelsim.trace.onnx_attention import ATTENTION_OPERATORS
from accelsim.trace.onnx_ops import Node
from accelsim.trace.records import Record, Ref


def _recurrent(node: Node) -> list[Record]:
    """Return the weights of both directions one by one, and the layer; its input is (steps, batch, features)."""
    kind = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh"}[node.proto.op_type]
    _check_lengths(node)
    directions = node.shape(1)[0]
    steps: list[Record] = []
    params: list[Ref] = []
    for side in range(directions):
        for place in (1, 2):
            name = f"{node.name(place)}[{side}]"
            source = {"input": Ref(node.name(place)), "dim": 0, "index": side}
            steps.append(Record("select", source, ((name, node.shape(place)[1:]),), node.place))
            params.append(Ref(name))
        if node.name(3):
            params += [Ref(node.name(3))] * 2
    arguments: dict[str, Any] = {
        **node.refs(input=0, hx=5),
        "params": params,
        "has_biases": bool(node.name(3)),
        "has_peepholes": bool(node.name(7)),
        "num_layers": 1,
        "bidirectional": directions > 1,
        "batch_first": bool(node.integer("layout", 0)),
    }
    return [*steps, *node.record(kind, arguments)]


def _check_lengths(node: Node) -> None:
    """Refuse sequences of unequal lengths: how many steps are left out of each would change the work."""
    steps, batch = node.shape(0)[:2] if not node.integer("layout", 0) else node.shape(0)[1::-1]
    lengths = node.name(4)
    if lengths and node.integers.get(lengths) != [steps] * batch:
        raise TraceError(
            f"{node.where}: {node.place}: {node.proto.op_type}: its operand sequence_lens ({lengths!r}) says how many "
            f"of the {steps} steps each sequence has; take it out to run all steps, or export sequences of one length"
        )


SEQUENCES: Mapping[str, Callable[[Node], list[Record]]] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **ATTENTION_OPERATORS,
}
