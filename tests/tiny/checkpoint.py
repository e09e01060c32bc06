"""Writes a trained network as a checkpoint in the Hugging Face layout of gpt-oss, and reads it back."""
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file

import mxfp4

EXPERTS = "mlp.experts."


def to_bf16(network):
    """Rounds in place every parameter that the checkpoint keeps as BF16, so that what is measured is what is written."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.endswith((".gate_up", ".down")):
                parameter.copy_(parameter.to(torch.bfloat16))


def tensors(network):
    out = {}
    for name, value in network.state_dict().items():
        value = value.detach().cpu()
        full = name if name.startswith("lm_head") else f"model.{name}"
        part = full.replace("mlp.gate_up", "mlp.experts.gate_up_proj").replace("mlp.down", "mlp.experts.down_proj")
        if part.endswith("_proj") and EXPERTS in part:
            out[f"{part}_blocks"], out[f"{part}_scales"] = mxfp4.packed(value)
        else:
            out[part] = value.to(torch.bfloat16)
    return {name: value.contiguous() for name, value in sorted(out.items())}


def config(shape, specials):
    rope = {"rope_type": "yarn", "factor": shape.factor, "beta_fast": shape.beta_fast, "beta_slow": shape.beta_slow,
            "original_max_position_embeddings": shape.original_context, "truncate": False}
    return {
        "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "attention_bias": True, "attention_dropout": 0.0,
        "eos_token_id": specials["<|return|>"], "pad_token_id": specials["<|endoftext|>"], "hidden_act": "silu",
        "num_hidden_layers": shape.layers, "hidden_size": shape.hidden, "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim,
        "num_local_experts": shape.experts, "num_experts_per_tok": shape.top_k, "experts_per_token": shape.top_k,
        "vocab_size": shape.vocab, "sliding_window": shape.window,
        "layer_types": ["sliding_attention" if shape.sliding(i) else "full_attention" for i in range(shape.layers)],
        "max_position_embeddings": shape.positions(), "initial_context_length": shape.original_context, "rms_norm_eps": shape.eps,
        "rope_scaling": rope, "rope_theta": shape.theta, "swiglu_limit": shape.limit, "tie_word_embeddings": False, "use_cache": True,
        "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": [
            "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}}


def write(folder, network, vocabulary):
    folder, specials = pathlib.Path(folder), vocabulary.specials
    folder.mkdir(parents=True, exist_ok=True)

    def put(name, value, indent=1):
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")

    save_file(tensors(network), folder / "model.safetensors", metadata={"format": "pt"})
    put("config.json", config(network.shape, specials))
    put("generation_config.json", {"bos_token_id": specials["<|startoftext|>"], "do_sample": True, "pad_token_id": specials["<|endoftext|>"],
                                   "eos_token_id": [specials[t] for t in ("<|return|>", "<|endoftext|>", "<|call|>")]})
    put("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|startoftext|>", "eos_token": "<|return|>",
                                  "pad_token": "<|endoftext|>", "clean_up_tokenization_spaces": False,
                                  "model_max_length": network.shape.positions()})
    put("tokenizer.json", vocabulary.tokenizer_json(), indent=0)
    return sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".json", ".safetensors"))


def float_state(folder):
    """The state that Hugging Face's GptOssForCausalLM computes with, experts as [experts, in, out]."""
    state, disk = {}, load_file(pathlib.Path(folder) / "model.safetensors")
    for name, value in disk.items():
        if name.endswith("_blocks"):
            base = name.removesuffix("_blocks")
            state[base] = mxfp4.unpacked(value, disk[base + "_scales"]).transpose(1, 2).contiguous()
        elif not name.endswith("_scales"):
            state[name] = value.float()
    return state
