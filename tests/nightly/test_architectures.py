"""Architectures of timm and transformers, with random weights: their products are those that torch counts.

`make nightly` installs both and runs this; each line of ``docs/modules.md`` is tried here.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
from architectures import timm_model  # noqa: E402

from accelsim.trace.modules import graph_from_module  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("ACCELSIM_NIGHTLY" not in os.environ, reason="minutes long; make nightly runs it"),
]

IMAGES = (
    "resnet18 resnext50_32x4d regnety_002 densenet121 mobilenetv3_small_100 efficientnet_b0 "
    "tf_efficientnet_cc_b0_4e ghostnet_100 dla34 "
    "res2net50_26w_4s ese_vovnet19b_dw inception_v3 nfnet_l0 skresnet18 resnest14d repvgg_a0 mobileone_s0 tinynet_e "
    "hrnet_w18_small rdnet_tiny inception_next_atto convnext_atto halonet26t botnet26t_256 lambda_resnet26t "
    "vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 beit_base_patch16_224 eva02_tiny_patch14_224 "
    "tnt_s_patch16_224 swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 nest_tiny convit_tiny crossvit_tiny_240 "
    "coat_tiny levit_128s visformer_tiny mobilevit_s maxvit_rmlp_nano_rw_256 coatnet_nano_rw_224 edgenext_small "
    "efficientformer_l1 fastvit_t8 poolformer_s12 pvt_v2_b0 twins_svt_small xcit_nano_12_p16_224 volo_d1_224 "
    "focalnet_tiny_srf davit_tiny hiera_tiny_224 mambaout_femto naflexvit_base_patch16_gap mixer_s32_224 "
    "resmlp_12_224 gmlp_ti16_224 "
).split()

TOKENS = torch.zeros(1, 16, dtype=torch.long)
PIXELS = torch.zeros(1, 3, 64, 64)
SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 500,
    "max_position_embeddings": 64, "num_key_value_heads": 2, "head_dim": 16, "embedding_size": 64,
}  # fmt: skip
GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 500, "n_positions": 64}
T5 = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 500, "use_cache": False}
BOTH_SIDES = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "vocab_size": 500, "max_position_embeddings": 64,
}  # fmt: skip
PATCHES = {"image_size": 64, "patch_size": 16}
IDS, SEEN = {"input_ids": TOKENS}, {"pixel_values": PIXELS}
SEQUENCES: dict[str, tuple[str, dict[str, Any], dict[str, torch.Tensor]]] = {
    "BertModel": ("BertConfig", SMALL, {**IDS, "attention_mask": torch.ones_like(TOKENS)}),
    **{
        f"{name}{head}": (f"{name}Config", SMALL, IDS)
        for head, names in {
            "Model": "Albert Roberta Electra ConvBert DebertaV2 LayoutLM",
            "ForCausalLM": "Llama Mistral Qwen2 Qwen3 Gemma2 Phi Mamba Rwkv",
        }.items()
        for name in names.split()
    },
    "GPT2LMHeadModel": ("GPT2Config", GPT, IDS),
    "BloomForCausalLM": ("BloomConfig", {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 500}, IDS),
    "T5ForConditionalGeneration": ("T5Config", T5, {**IDS, "decoder_input_ids": TOKENS}),
    "BartModel": ("BartConfig", BOTH_SIDES, {**IDS, "decoder_input_ids": TOKENS}),
    "ViTModel": ("ViTConfig", {**SMALL, **PATCHES}, SEEN),
    "CLIPVisionModel": ("CLIPVisionConfig", {**SMALL, **PATCHES}, SEEN),
    "SiglipVisionModel": ("SiglipVisionConfig", {**SMALL, **PATCHES}, SEEN),
    "Dinov2Model": ("Dinov2Config", {**SMALL, **PATCHES}, SEEN),
    "SegformerForSemanticSegmentation": ("SegformerConfig", {}, SEEN),
    "FNetModel": ("FNetConfig", SMALL, IDS),
}


class Named(nn.Module):
    """A model whose arguments have names, and what it returns as a tuple."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model(**dict(zip(self.names, values, strict=True)))
        return tuple(value for value in found.values() if torch.is_tensor(value))


def compare(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    module.eval()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    found = graph_from_module(module, inputs)
    trace = found.trace()
    macs = sum(layer.dims.macs for layer in trace.layers if layer.uses_array)
    # Torch's counter knows no products that are spelled as a product by elements and a sum.
    spelled = sum(work.macs for work in found.work if work.operation.target in ("sum", "mean"))
    assert macs - spelled == counter.get_total_flops() // 2
    assert trace.num_parameters == sum(parameter.numel() for parameter in module.parameters())
    assert not trace.skipped


@pytest.mark.parametrize("name", IMAGES)
def test_networks_of_images(name: str) -> None:
    model = timm_model(name)
    compare(model, (torch.zeros(1, *model.default_cfg["input_size"]),))


@pytest.mark.parametrize("name", SEQUENCES)
def test_networks_of_sequences(name: str) -> None:
    import transformers

    config, sizes, inputs = SEQUENCES[name]
    build: Callable[..., Any] = getattr(transformers, config)
    model = getattr(transformers, name)(build(**sizes))
    compare(Named(model, tuple(inputs)), tuple(inputs.values()))
