"""Language models by name and by config.json: their sizes, and what a run of them consists of."""

import json

import numpy as np
import pytest

from accelsim.errors import TraceError
from accelsim.ticket.zoo.decoders import decoder_shape, list_decoders, num_parameters
from accelsim.trace import TraceOptions, trace_workload
from accelsim.trace.model_config import read_model_config

# Published: the checkpoints' own counts (tied tables once, biases and norms included).
PUBLISHED = {
    "gpt2": 124_439_808, "gpt2_medium": 354_823_168, "gpt2_large": 774_030_080, "gpt2_xl": 1_557_611_200,
    "llama3_2_1b": 1_235_814_400, "llama3_2_3b": 3_212_749_824, "llama3_8b": 8_030_261_248,
    "qwen2_5_1_5b": 1_543_714_304, "mixtral_8x7b": 46_702_792_704,
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 2, "intermediate_size": 96, "max_position_embeddings": 256,
}  # fmt: skip


def decode(path, context=10, **options):
    return trace_workload(str(path), TraceOptions(phase="decode", context=context, **options))


def layers(trace):
    return {layer.name: layer for layer in trace.layers}


def config(tmp_path, **fields):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value for key, value in (LLAMA | fields).items() if value != "left out"}))
    return path


@pytest.mark.parametrize("shape", list_decoders(), ids=lambda shape: shape.name)
def test_parameters_are_the_published_ones(shape):
    trace = decode(shape.name)
    assert trace.num_parameters == num_parameters(shape)
    if shape.name == "bitnet_2b":
        assert trace.num_parameters == pytest.approx(2.41e9, rel=0.005)
    else:
        assert trace.num_parameters == PUBLISHED[shape.name]
    # Every matrix and table is a layer's; what is left are biases and norms.
    weights = sum(layer.weights.num_weights for layer in trace.layers if layer.weights and not layer.weights_of)
    assert 0 < trace.num_parameters - weights < 0.002 * weights


def test_keys_and_values_are_read_once_a_group_of_heads():
    found = layers(decode("llama3_8b", context=100, batch=3))
    scores, context = found["layers.7.self_attn.scores"], found["layers.7.self_attn.context"]
    assert (scores.dims.G, scores.dims.K, scores.dims.C, scores.dims.P) == (3 * 8, 101, 128, 4)
    assert (context.dims.G, context.dims.K, context.dims.C, context.dims.P) == (3 * 8, 128, 101, 4)
    for layer in (scores, context):
        assert layer.cached_elements == 3 * 8 * 128 * 100
        assert layer.second_input_elements == layer.dims.num_weights == 3 * 8 * 128 * 101
    assert found["layers.7.self_attn.k_proj"].caches
    assert found["layers.7.self_attn.v_proj"].caches
    assert not found["layers.7.self_attn.q_proj"].caches


def test_the_output_layer_counts_once_for_each_sequence_and_shares_a_tied_table():
    trace = trace_workload("llama3_2_1b", TraceOptions(phase="prefill", prompt=64, batch=2))
    head = layers(trace)["lm_head"]
    assert (head.weights_of, head.dims.N, head.dims.P, head.dims.K) == ("embed_tokens", 2, 1, 128_256)
    assert layers(decode("llama3_8b"))["lm_head"].weights_of == ""
    assert (trace.language.context_length, trace.language.num_tokens) == (64, 64)


def test_a_mixture_runs_the_experts_that_its_tokens_are_expected_to_hit():
    name = "layers.0.block_sparse_moe.experts.w1"
    one, many = layers(decode("mixtral_8x7b"))[name], layers(decode("mixtral_8x7b", batch=4))[name]
    assert (one.dims.G, one.dims.P, one.weight_share) == (2, 1, 0.25)
    assert (many.dims.G, many.weight_share) == (6, pytest.approx(1 - 0.75**4))
    named = layers(decode("mixtral_8x7b", batch=4, experts=(1, 5, 6)))[name]
    assert (named.dims.G, named.dims.P, named.weight_share) == (3, 3, 3 / 8)


def test_a_sliding_window_bounds_what_is_attended_to(tmp_path):
    path = config(tmp_path, model_type="mistral", sliding_window=16)
    short, long = (layers(decode(path, context=context))["layers.0.self_attn.scores"] for context in (10, 200))
    assert (short.dims.K, long.dims.K) == (11, 16)
    assert long.cached_elements == 15 * 2 * 8
    prompt = layers(trace_workload(str(path), TraceOptions(prompt=64)))["layers.0.self_attn.scores"]
    assert (prompt.dims.G, prompt.dims.K) == (2 * 4, 32)
    late = layers(trace_workload(str(path), TraceOptions(prompt=64, context=100)))["layers.0.self_attn.scores"]
    assert (late.dims.G, late.dims.K, late.cached_elements) == (2 * 4, 32, 15 * 2 * 8)
    every = {"use_sliding_window": True, "sliding_window": 16}
    for said, seen in (({"max_window_layers": 0}, 16), ({"max_window_layers": 2}, 201)):
        path = config(tmp_path, model_type="qwen2", **every, **said)
        assert layers(decode(path, context=200))["layers.0.self_attn.scores"].dims.K == seen


def test_a_prompt_behind_a_filled_cache_meets_what_is_in_it():
    trace = trace_workload("gpt2", TraceOptions(context=300, prompt=100, batch=2))
    scores, context = layers(trace)["h.3.attn.scores"], layers(trace)["h.3.attn.context"]
    assert scores.dims.macs == context.dims.macs == 2 * 12 * 100 * 400 * 64
    assert scores.cached_elements == 2 * 300 * 768
    assert (trace.language.context_length, trace.language.num_tokens) == (400, 100)
    assert layers(trace)["h.3.mlp.c_fc"].dims.P == 100


def test_the_ticket_of_a_decoder_has_the_layers_of_its_run():
    whole, one = trace_workload("decoder_slt_f70"), decode("decoder_slt_f70", context=100, batch=3, kv_bits=4)
    assert [layer.name for layer in one.layers] == [layer.name for layer in whole.layers]
    for own, layer in zip(whole.layers, one.layers, strict=True):
        if own.weights:
            assert own.weights.codec_bits == layer.weights.codec_bits
            assert np.array_equal(own.weights.load_mask(), layer.weights.load_mask())
        assert own.input_density == layer.input_density
        if own.kind != "matmul":
            assert (layer.num_outputs, layer.vector_ops) == (3 * own.num_outputs // 128, 3 * own.vector_ops // 128)
            assert layer.dims.macs * 128 == 3 * own.dims.macs
    scores, context = (layers(one)[f"blocks.2.attn.{part}"] for part in ("scores", "context"))
    assert scores.dims.macs == context.dims.macs == 3 * 4 * 101 * 32
    for layer in (scores, context):
        assert (layer.cached_elements, layer.second_input_elements) == (3 * 100 * 128, 3 * 101 * 128)
        assert layer.cache_bits == 4
    assert layers(one)["blocks.2.attn.k_proj"].caches
    assert not layers(one)["blocks.2.attn.q_proj"].caches
    prompt = trace_workload("decoder_slt_f70", TraceOptions(prompt=128))
    assert layers(prompt)["blocks.0.mlp.fc2"].dims == layers(whole)["blocks.0.mlp.fc2"].dims
    assert (layers(prompt)["head"].dims.P, layers(whole)["head"].dims.P) == (1, 128)


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [
        # tables 2 x 512 x 64; a block 64 x (64 + 2 x 16) + 64 x 64 + 3 x 64 x 96 + 2 norms; a last norm
        ({}, 65_536 + 2 * (6144 + 4096 + 18_432 + 128) + 64),
        ({"tie_word_embeddings": True}, 32_768 + 2 * (6144 + 4096 + 18_432 + 128) + 64),
        ({"model_type": "qwen2"}, 65_536 + 2 * (6144 + 4096 + 18_432 + 128 + 96) + 64),
        ({"model_type": "bitnet", "hidden_act": "relu2"}, 65_536 + 2 * (6144 + 4096 + 18_432 + 128 + 160) + 64),
        ({"model_type": "mixtral", "num_local_experts": 4}, 65_536 + 2 * (6144 + 4096 + 4 * 18_432 + 256 + 128) + 64),
        ({"attention_bias": True, "mlp_bias": True}, 65_536 + 2 * (28_672 + 128 + 96 + 64 + 2 * 96 + 64) + 64),
        ({"head_dim": 16}, 65_536 + 2 * (2 * 6144 + 2 * 4096 + 18_432 + 128) + 64),
    ],
)
def test_a_configuration_of_each_family_is_read(tmp_path, fields, parameters):
    trace = decode(config(tmp_path, **fields))
    assert trace.num_parameters == parameters
    assert trace.sha256


def test_a_configuration_of_gpt2_is_read(tmp_path):
    path = tmp_path / "config.json"
    numbers = {"vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "n_inner": None}
    path.write_text(json.dumps({"model_type": "gpt2", "summary_type": "cls_index", **numbers}))
    assert num_parameters(read_model_config(str(path))) == PUBLISHED["gpt2"]


@pytest.mark.parametrize(
    ("family", "fields", "num_kv_heads", "window"),
    [
        ("llama", {}, 40, None),
        ("mistral", {}, 8, 4096),
        ("mistral", {"num_key_value_heads": None, "sliding_window": None}, 40, None),
        ("bitnet", {}, 5, None),
        ("mixtral", {"num_key_value_heads": 2}, 2, None),
    ],
)
def test_a_field_left_out_means_what_it_does_to_the_library_and_null_means_none(
    tmp_path, family, fields, num_kv_heads, window
):
    sizes = {"model_type": family, "hidden_size": 320, "num_attention_heads": 40, "hidden_act": "silu"}
    shape = read_model_config(str(config(tmp_path, **sizes, **({"num_key_value_heads": "left out"} | fields))))
    assert (shape.num_kv_heads, shape.window) == (num_kv_heads, window)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model_type": "mamba"}, "model_type: 'mamba' is none of gpt2, llama, mistral, qwen2, bitnet, mixtral; read"),
        ({"hidden_size": "left out"}, "hidden_size: is missing"),
        ({"hidden_size": "64"}, "hidden_size: str is not a whole number from 1 to"),
        ({"hidden_size": True}, "hidden_size: True is not a whole number"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: 1000000000 is not a whole number from 1 to 1024"),
        ({"vocab_size": 1 << 24, "hidden_size": 1 << 20}, "parameters are more than 1099511627776"),
        ({"num_key_value_heads": 3}, "num_key_value_heads: 3 does not divide 8 query heads"),
        ({"num_attention_heads": 7}, "num_attention_heads: 7 does not divide 64 features"),
        ({"hidden_act": "mish"}, "hidden_act: 'mish' is not one of gelu"),
        ({"hidden_act": False}, "hidden_act: bool is not one of gelu"),
        (
            {"model_type": "llava", "text_config": LLAMA},
            "model_type: 'llava' is none of gpt2, llama, mistral, qwen2, bitnet, mixtral, but its text_config is",
        ),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
            "max_window_layers: a window in some layers only is not modelled",
        ),
        ({"sliding_window": 8}, "sliding_window: llama has none"),
        (
            {"model_type": "mistral", "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
            "layer_types: a window in some layers only is not modelled",
        ),
        (
            {"model_type": "mistral", "sliding_window": 8, "layer_types": ["full_attention"] * 2},
            "layer_types: full_attention does not fit sliding_window",
        ),
        ({"layer_types": ["linear_attention"] * 2}, "layer_types: 'linear_attention' is not modelled"),
        ({"layer_types": ["full_attention"]}, "layer_types: not a list with a kind for each of 2 layers"),
        ({"model_type": "mixtral", "num_experts_per_tok": 9}, "num_experts_per_tok: 9 is more than 8 experts"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(tmp_path, fields, said):
    with pytest.raises(TraceError, match=said.replace("(", r"\(")) as error:
        decode(config(tmp_path, **fields))
    assert "\n" not in str(error.value)


def test_a_configuration_that_says_a_thing_twice_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "llama", "vocab_size": 1, "vocab_size": 2}')
    with pytest.raises(TraceError, match="a field is given twice, 'vocab_size'"):
        decode(path)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gpt2", {"phase": "decode", "context": 1024}, "1025 positions are more than the 1024 of gpt2"),
        ("gpt2", {"phase": "generate", "prompt": 1000, "tokens": 26}, "1025 positions are more than the 1024"),
        ("gpt2", {"prompt": 1025}, "--prompt 1025: 1025 positions are more than"),
        ("gpt2", {"phase": "generate", "prompt": 5}, "--tokens: phase generate needs it"),
        ("gpt2", {"phase": "decode", "prompt": 5}, "--prompt: phase decode does not take it"),
        ("gpt2", {"phase": "encode"}, "phase: encode is not one of prefill, decode, generate"),
        ("gpt2", {"kv_bits": 5}, "kv_bits: 5 is not one of 16, 8, 4"),
        ("gpt2", {"context": -1}, "context: -1 is not a whole number from 0"),
        ("gpt2", {"experts": (0, 1)}, "gpt2 has no experts"),
        ("gpt2", {"width_factor": 2.0}, "--width-factor: a language model has its own sizes"),
        ("mixtral_8x7b", {"phase": "decode", "experts": (0, 8)}, "--experts: 8 is not from 0 to 7"),
        ("mixtral_8x7b", {"phase": "decode", "experts": (0, 0)}, "names one twice"),
        ("mixtral_8x7b", {"phase": "decode", "experts": (0, 1, 2)}, "3 named, and the tokens of one step hit 2; name"),
        ("mixtral_8x7b", {"phase": "generate", "prompt": 4, "tokens": 2, "experts": (0, 1, 2)}, "hit 2; name as many"),
        ("mixtral_8x7b", {"prompt": 2, "experts": (0, 1, 2, 3, 4)}, "5 named, and the tokens of one step hit 2 to 4"),
        ("gpt3", {"phase": "decode"}, "network 'gpt3' is unknown; did you mean gpt2"),
        ("resnet18", {"phase": "decode"}, "only a language model by name, its config.json, or a decoder's ticket has"),
        ("gpt2", {"context": 1000, "prompt": 25}, "--context 1000 with --prompt 25: 1025 positions are more than"),
        ("conv6_slt_f70", {"phase": "decode"}, "only a language model by name, its config.json, or a decoder's"),
        ("decoder_slt_f70", {"phase": "decode", "context": 128}, "129 positions are more than the 128 of char_decoder"),
        ("decoder_slt_f70", {"phase": "decode", "experts": (1,)}, "--experts: char_decoder has no experts"),
        ("decoder_slt_f70", {"phase": "decode", "sparsity": 0.5}, "a ticket has its own sparsity"),
    ],
)
def test_a_run_that_a_model_does_not_have_is_refused_in_one_line(name, options, said):
    with pytest.raises(TraceError, match=said) as error:
        trace_workload(name, TraceOptions(**options))
    assert "\n" not in str(error.value)


def test_a_mask_covers_all_matrices_and_a_tied_table():
    options = {"sparsity": 0.5, "prune_ratio": 0.35, "lock_ratio": 0.35}
    tied, untied = layers(decode("llama3_2_1b", **options)), layers(decode("llama3_8b", **options))
    assert tied["embed_tokens"].weights.source is not None
    assert untied["embed_tokens"].weights.beside_supermasks
    assert untied["lm_head"].weights.source is not None
    assert decoder_shape("llama3.2-1b").tied
