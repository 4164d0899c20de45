"""Tensors that are no plain state dict are recognized, and the error says how to save one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.checkpoint import families, forms
from tests.checkpoint.forms import Tensors
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.layouts.foreign import explain, explain_family, explain_prefixes
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, Published

LIKE = Published("quick_gelu", PreprocessConfig(224))

PREFIXES = (
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "clip.",
    "net._orig_mod.",
    "model.clip.",
    "backbone.module.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
@pytest.mark.parametrize("layout", ["open_clip", "transformers"])
def test_wrapped_checkpoints_give_the_same_network(
    prefix: str, suffix: str, layout: str, vit: Tensors, tmp_path: Path
) -> None:
    write = {"open_clip": forms.open_clip, "transformers": forms.transformers}[layout]
    original = write(forms.VIT, vit, tmp_path)
    content = reader.files.read_content(reader.files.find_weights(original)).tensors
    wrapped = {prefix + name: tensor.clone() for name, tensor in content.items()}
    for path in tmp_path.glob("*model*"):
        path.unlink()
    if suffix == "bin":
        torch.save(wrapped, tmp_path / "pytorch_model.bin")
    else:
        save_file(wrapped, tmp_path / "model.safetensors")

    checkpoint = reader.read(tmp_path)

    assert (checkpoint.layout, checkpoint.spec) == (layout, forms.VIT)
    for name, tensor in vit.items():
        assert torch.equal(checkpoint.weights.read(name), tensor), name


LORA = "visual.transformer.resblocks.0.mlp.c_fc"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([f"base_model.model.{LORA}.lora_A.weight"], "merge_and_unload"),
        ([f"{LORA}.base_layer.weight", f"{LORA}.lora_B.default.weight"], "merge_and_unload"),
        ([f"{LORA}.lora_down.weight"], "merge_and_unload"),
        (["_modules.visual._modules.conv1._parameters.weight"], r"model\.state_dict\(\)"),
        (["model._modules.visual._parameters.proj"], r"model\.state_dict\(\)"),
        ([f"{LORA}.weight", f"{LORA}.SCB"], "bitsandbytes"),
        ([f"{LORA}.weight.quant_state.bitsandbytes__nf4"], "bitsandbytes"),
        ([f"{LORA}.weight.absmax"], "bitsandbytes"),
        ([f"{LORA}.qweight", f"{LORA}.qzeros"], "quantized weights"),
    ],
)
def test_each_kind_is_explained(names: list[str], says: str, tmp_path: Path) -> None:
    tensors = {"visual.conv1.weight": torch.zeros(1), "token_embedding.weight": torch.zeros(1)}
    tensors |= {name: torch.zeros(1) for name in names}
    torch.save(tensors, tmp_path / "model.pt")

    with pytest.raises(IncompatibleWeights, match=says) as caught:
        reader.read(tmp_path / "model.pt")

    assert len(str(caught.value).replace(str(tmp_path), "")) < 600


@pytest.mark.parametrize(
    "whole", [lambda net: net, lambda net: {"model": net}, lambda net: {"state": {"net": net}}]
)
def test_a_pickled_module_is_recognized(
    whole: Callable[[nn.Module], object], tmp_path: Path
) -> None:
    torch.save(whole(nn.Sequential(nn.Conv2d(3, 8, 4))), tmp_path / "model.pt")

    with pytest.raises(IncompatibleWeights, match=r"torch\.save\(model\.state_dict\(\)"):
        reader.read(tmp_path / "model.pt")


def test_supported_names_are_not_explained(vit: Tensors) -> None:
    for names in (vit, forms.openai(vit), forms.huggingface(vit)):
        assert explain(names) == ""
        assert explain_prefixes(names) == ""


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        ("head.weight", r"save the CLIP alone, as in torch\.save\(model\.clip\.state_dict"),
        ("teacher.visual.proj", r"several prefixes: clip\., teacher\.; save one"),
    ],
)
def test_tensors_beside_a_prefix_are_named(
    beside: str, says: str, vit: Tensors, tmp_path: Path
) -> None:
    tensors = {f"clip.{name}": tensor for name, tensor in forms.openai(vit).items()}
    torch.save(tensors | {beside: torch.zeros(1)}, tmp_path / "model.pt")

    with pytest.raises(IncompatibleWeights, match=says):
        reader.read(tmp_path / "model.pt")


# ---- bare files of other families

FAMILIES = {
    "siglip in transformers": (
        families.huggingface(families.tensors_of(families.SIGLIP)),
        "SigLIP",
    ),
    "siglip in open_clip": (families.timm_tensors(families.tensors_of(families.SIGLIP)), "SigLIP"),
    "pe": (families.timm_tensors(families.tensors_of(families.PE)), "PE-Core in open_clip"),
}
NAMES = {  # of a few tensors -> family
    ("visual.trunk.blocks.0.attn.q_bias", "token_embedding.weight"): "EVA-CLIP",
    ("visual.trunk.blocks.0.attn.q_proj.weight", "text.token_embedding.weight"): "EVA-CLIP",
    ("visual.trunk.stages.0.blocks.0.conv_dw.weight", "token_embedding.weight"): "ConvNeXt",
    ("visual.trunk.stages.1.blocks.0.token_mixer.norm.bias", "text.ln_final.bias"): "MobileCLIP",
    ("visual.conv1.weight", "text.transformer.embeddings.LayerNorm.bias"): "text tower of BERT",
    (
        "vision_model.embeddings.patch_embedding.weight",
        "text_model.embeddings.word_embeddings.weight",
    ): "Chinese-CLIP",
}
UNSUPPORTED = {
    ("vision_model.post_layernorm.bias", "text_model.roberta.pooler.bias"): "AltCLIP",
    ("visual.conv1.weight", "text.ln_final.bias", "text_decoder.ln_final.bias"): "CoCa",
    ("vision_model.post_layernorm.bias", "text_decoder.bert.embeddings.bias"): "BLIP",
    ("vision_model.post_layernorm.bias", "qformer.layernorm.bias"): "BLIP",
    ("audio_model.x.bias", "text_model.embeddings.x.bias"): "CLAP",
    (
        "vision_model.embeddings.patch_embedding.weight",
        "text_model.embeddings.position_embedding_res.weight",
    ): "FG-CLIP",
}


@pytest.mark.parametrize("like", [None, LIKE], ids=["alone", "like"])
@pytest.mark.parametrize(("tensors", "family"), FAMILIES.values(), ids=FAMILIES)
def test_bare_file_of_another_family_names_it_and_its_config_file(
    tensors: Tensors, family: str, like: Published | None, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "bare.safetensors")

    with pytest.raises(IncompatibleWeights, match=f"the tensors are those of .*{family}") as caught:
        reader.read(tmp_path / "bare.safetensors", like)

    assert "config.json" in str(caught.value)
    in_transformers = "vision_model.post_layernorm.bias" in tensors
    assert ("like= cannot replace" if in_transformers else "or pass like=") in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(("names", "family"), [*NAMES.items(), *UNSUPPORTED.items()])
def test_family_is_recognized_by_a_few_names(
    names: tuple[str, ...], family: str, tmp_path: Path
) -> None:
    save_file({name: torch.ones(3) for name in names}, tmp_path / "bare.safetensors")

    with pytest.raises(IncompatibleWeights, match=f"the tensors are those of .*{family}") as caught:
        reader.read(tmp_path / "bare.safetensors", LIKE)

    assert ("not supported" in str(caught.value)) is (names in UNSUPPORTED)


def test_unsupported_family_is_named_even_beside_a_config_of_clip(
    vit: Tensors, tmp_path: Path
) -> None:
    forms.transformers(forms.VIT, vit, tmp_path)
    extra = {"text_model.embeddings.position_embedding_res.weight": torch.ones(248, 64)}
    save_file(forms.huggingface(vit) | extra, tmp_path / "model.safetensors")

    with pytest.raises(IncompatibleWeights, match=r"FG-CLIP, which is not supported; run it with"):
        reader.read(tmp_path)


def test_names_of_openai_belong_to_no_other_family(vit: Tensors) -> None:
    for tensors in (forms.openai(vit), vit, forms.huggingface(vit)):
        assert explain_family(tensors) == ""


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("visual.conv1.weight", "an image tower without its text tower"),
        ("visual.attn_pool.probe", "a Perception Encoder without its text tower"),
        ("token_embedding.weight", "a text tower without its image tower"),
        ("text_model.embeddings.token_embedding.weight", "a text tower without its image tower"),
        ("vision_model.embeddings.patch_embedding.weight", "an image tower without its text"),
    ],
)
def test_file_with_one_tower_only_is_called_so(name: str, what: str, tmp_path: Path) -> None:
    save_file({name: torch.ones(3), "logit_scale": torch.ones(())}, tmp_path / "one.safetensors")

    with pytest.raises(IncompatibleWeights, match=f"{what}.* both are required"):
        reader.read(tmp_path / "one.safetensors")
