"""Forty public architectures from torchvision, timm and transformers, with random weights and small inputs.

Names and widths are those of the libraries; images are smaller, and of language models the depth, width and vocabulary.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

N_OUTPUTS = 10
_POSITIONS = 16
_WORDS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network and inputs that it takes, both from a seed."""

    library: str
    make: Callable[[], nn.Module]
    inputs: Callable[[int], Any]

    def network(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """The network in evaluation mode; parameters and statistics that initialisation leaves constant vary, too.

        Otherwise branches that are scaled by zero, and normalisations, would be checked where they are trivial.
        """
        torch.manual_seed(0)
        net = self.make().eval().float()
        with torch.no_grad():
            for name, value in [*net.named_parameters(), *net.named_buffers()]:
                if not value.is_floating_point() or value.numel() < 1 or value.min() != value.max():
                    continue
                if "running_var" in name:
                    value.uniform_(0.5, 1.5)
                elif "num_batches" not in name and (value.requires_grad or "running_mean" in name):
                    value.add_(torch.randn_like(value), alpha=0.1)
        return net.to(dtype)


def _images(side: int) -> Callable[[int], torch.Tensor]:
    return lambda n: torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def _tokens(n: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, _WORDS, (n, _POSITIONS), generator=torch.Generator().manual_seed(1))
    ids[:, -1] = 2  # the end, which T5 looks for
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _sounds(n: int) -> torch.Tensor:
    return torch.randn(n, 4000, generator=torch.Generator().manual_seed(1))


def _torchvision(name: str, side: int = 64, **options: Any) -> Architecture:
    def make() -> nn.Module:
        from torchvision import models

        found: nn.Module = getattr(models, name)(num_classes=N_OUTPUTS, **options)
        return found

    return Architecture(library="torchvision", make=make, inputs=_images(side))


def _timm(name: str, side: int = 64, **options: Any) -> Architecture:
    def make() -> nn.Module:
        import timm

        found: nn.Module = timm.create_model(name, num_classes=N_OUTPUTS, **options)
        return found

    return Architecture(library="timm", make=make, inputs=_images(side))


_NARROW = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "pad_token_id": 0,
}
_LANGUAGE = {"vocab_size": _WORDS, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}
_DECODER = {**_NARROW, **_LANGUAGE, "num_key_value_heads": 2}


def _transformers(family: str, head: str, inputs: Callable[[int], Any], /, **options: Any) -> Architecture:
    def make() -> nn.Module:
        import transformers

        config = getattr(transformers, f"{family}Config")(num_labels=N_OUTPUTS, **options)
        found: nn.Module = getattr(transformers, f"{family}For{head}Classification")(config)
        return found

    return Architecture(library="transformers", make=make, inputs=inputs)


_GPT2 = {**_LANGUAGE, "n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 64, "pad_token_id": 0}
_DISTILBERT = {"dim": 128, "n_layers": 2, "n_heads": 4, "hidden_dim": 256, "vocab_size": _WORDS}
_T5 = {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2, "num_heads": 4, "vocab_size": _WORDS}
_WAV2VEC2 = {"conv_dim": (32,) * 7, "vocab_size": 32, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
_SWIN = {"embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}

ARCHITECTURES: Mapping[str, Architecture] = {
    "ResNet-18": _torchvision("resnet18"),
    "DenseNet-121": _torchvision("densenet121"),
    "SqueezeNet-1.1": _torchvision("squeezenet1_1"),
    "GoogLeNet": _torchvision("googlenet", aux_logits=False, init_weights=False),
    "MNASNet-0.5": _torchvision("mnasnet0_5"),
    "MobileNet-V2": _torchvision("mobilenet_v2"),
    "MobileNet-V3-S": _torchvision("mobilenet_v3_small"),
    "EfficientNet-B0": _torchvision("efficientnet_b0"),
    "ShuffleNet-V2": _torchvision("shufflenet_v2_x0_5"),
    "RegNet-Y-400MF": _torchvision("regnet_y_400mf"),
    "Swin-T": _torchvision("swin_t", 64),
    "ResNetV2-50": _timm("resnetv2_50"),
    "NFNet-L0": _timm("nfnet_l0"),
    "RepVGG-A0": _timm("repvgg_a0"),
    "FastViT-T8": _timm("fastvit_t8"),
    "ConvNeXt-V2-Atto": _timm("convnextv2_atto"),
    "GhostNet": _timm("ghostnet_100"),
    "PoolFormer-S12": _timm("poolformer_s12"),
    "MLP-Mixer-S/32": _timm("mixer_s32_224", 64, img_size=64),
    "DeiT-Ti": _timm("deit_tiny_patch16_224", 64, img_size=64),
    "BEiT (3 blocks)": _timm("beit_base_patch16_224", 64, img_size=64, depth=3, embed_dim=192, num_heads=3),
    "CaiT-XXS": _timm("cait_xxs24_224", 64, img_size=64),
    "XCiT-Nano": _timm("xcit_nano_12_p16_224", 64, img_size=64),
    "LeViT-128S": _timm("levit_128s", 224),
    "MobileViT-XXS": _timm("mobilevit_xxs"),
    "CoAtNet-Pico": _timm("coatnet_pico_rw_224", 64, img_size=64),
    "PVT-V2-B0": _timm("pvt_v2_b0"),
    "EVA-02-Ti": _timm("eva02_tiny_patch14_224", 56, img_size=56),
    "BERT": _transformers("Bert", "Sequence", _tokens, **_NARROW, **_LANGUAGE),
    "ALBERT": _transformers("Albert", "Sequence", _tokens, embedding_size=64, **_NARROW, **_LANGUAGE),
    "DeBERTa-V2": _transformers(
        "DebertaV2", "Sequence", _tokens, relative_attention=True, pos_att_type=["p2c", "c2p"], **_NARROW, **_LANGUAGE
    ),
    "DistilBERT": _transformers("DistilBert", "Sequence", _tokens, **_DISTILBERT),
    "GPT-2": _transformers("GPT2", "Sequence", _tokens, **_GPT2),
    "T5": _transformers("T5", "Sequence", _tokens, pad_token_id=0, eos_token_id=2, decoder_start_token_id=0, **_T5),
    "Llama": _transformers("Llama", "Sequence", _tokens, **_DECODER),
    "Qwen2": _transformers("Qwen2", "Sequence", _tokens, **_DECODER),
    "Gemma": _transformers("Gemma", "Sequence", _tokens, head_dim=32, **_DECODER),
    "Mixtral": _transformers(
        "Mixtral", "Sequence", _tokens, num_local_experts=4, experts_implementation="eager", **_DECODER
    ),
    "Swin (HF)": _transformers("Swin", "Image", _images(32), image_size=32, patch_size=4, **_SWIN),
    "wav2vec 2.0": _transformers("Wav2Vec2", "Sequence", _sounds, **_NARROW, **_WAV2VEC2),
}
"""By the name in the table."""
