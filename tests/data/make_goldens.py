#!/usr/bin/env python3
"""Makes tests/data/goldens: small random checkpoints and what Hugging Face computes from them in float32.

    pip install torch transformers==4.57.1 numpy safetensors
    python3 tests/data/make_goldens.py tests/data/goldens

Each folder is a checkpoint in the Hugging Face layout of gpt-oss, with experts in MXFP4, of a shape chosen to probe edges, and
`golden.safetensors`:

    prompt.I.ids        I32 [n]       a random prompt
    prompt.I.positions  I32 [p]       the positions that are compared
    prompt.I.targets    I32 [p, 32]   ids: the 12 best of the float32 run and 20 random ones
    prompt.I.logprobs   F32 [p, 32]   their log-probabilities in the float32 run
    prompt.I.greedy     I32 [g]       the float32 run's greedy continuation
    prompt.I.gaps       F32 [g]       between its best and second-best log-probability
    prompt.I.whole      F32 [p, v]    all log-probabilities at the positions; only in `gentle`

`golden.json` beside it keeps, per prompt, how far Hugging Face's own BF16 run is from its float32 run (mean absolute difference over
the same ids): the yardstick for backends that compute in BF16. A prompt in which two router logits at the edge of the top k lie closer
than 2e-5 in the float32 run is redrawn: rounding alone would decide it.
"""
import json
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import GptOssConfig, GptOssForCausalLM

FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
TARGETS_BEST, TARGETS_RANDOM, GREEDY, MAX_POSITIONS, ROUTER_GAP = 12, 20, 16, 32, 2e-5


def yarn(factor, original, theta=150000.0):
    scaling = {"rope_type": "yarn", "factor": factor, "beta_fast": 32.0, "beta_slow": 1.0,
               "original_max_position_embeddings": original, "truncate": False}
    return {"rope_theta": theta, "rope_scaling": scaling}


# name: (seed, scale of block outputs against the residual, config, prompt lengths)
CASES = {
    "plain": (1, 1.0, dict(hidden_size=96, intermediate_size=96, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=4,
              head_dim=32, num_local_experts=8, num_experts_per_tok=4, vocab_size=201, sliding_window=128, **yarn(32.0, 4096)),
              [1, 2, 17, 300]),
    "long": (2, 1.0, dict(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=8,
             head_dim=16, num_local_experts=4, num_experts_per_tok=2, vocab_size=128, sliding_window=128, **yarn(8.0, 64)),
             [127, 128, 129, 700]),
    "odd_hidden": (3, 1.0, dict(hidden_size=160, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
                   num_key_value_heads=2, head_dim=64, num_local_experts=12, num_experts_per_tok=4, vocab_size=97,
                   sliding_window=37, **yarn(32.0, 4096)), [3, 64, 200]),
    "wide_experts": (4, 1.0, dict(hidden_size=32, intermediate_size=224, num_hidden_layers=3, num_attention_heads=16,
                     num_key_value_heads=8, head_dim=8, num_local_experts=4, num_experts_per_tok=1, vocab_size=300,
                     sliding_window=8, **yarn(4.0, 32, 10000.0)), [1, 9, 150]),
    "one_kv_head": (5, 1.0, dict(hidden_size=96, intermediate_size=160, num_hidden_layers=4, num_attention_heads=3,
                    num_key_value_heads=1, head_dim=32, num_local_experts=8, num_experts_per_tok=3, vocab_size=131,
                    sliding_window=16, rms_norm_eps=1e-3,
                    layer_types=["full_attention", "full_attention", "sliding_attention", "full_attention"], **yarn(32.0, 4096)),
                    [5, 33, 260]),
    "plain_rope": (6, 1.0, dict(hidden_size=224, intermediate_size=96, num_hidden_layers=2, num_attention_heads=8,
                   num_key_value_heads=4, head_dim=16, num_local_experts=5, num_experts_per_tok=4, vocab_size=113,
                   sliding_window=128, rope_theta=10000.0, rope_scaling=None), [2, 140, 400]),
    "gentle": (7, 0.05, dict(hidden_size=128, intermediate_size=96, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=4,
               head_dim=16, num_local_experts=8, num_experts_per_tok=4, vocab_size=211, sliding_window=128, **yarn(32.0, 4096)),
               [1, 30, 320]),
}


def random_mxfp4(generator, experts, rows, cols, spread):
    """Random codes and scales such that the values have a standard deviation of about `spread`."""
    blocks = torch.randint(0, 256, (experts, rows, cols // 32, 16), generator=generator, dtype=torch.uint8)
    centre = 127 + round(float(np.log2(spread / 2.9)))  # 2.9: the spread of uniform codes
    scales = (centre + torch.randint(-1, 2, (experts, rows, cols // 32), generator=generator)).to(torch.uint8)
    return blocks, scales


def dequantise(blocks, scales):
    low, high = FP4[(blocks & 15).long()], FP4[(blocks >> 4).long()]
    values = torch.stack([low, high], dim=-1).flatten(-2)
    values = values * torch.exp2(scales.float() - 127).unsqueeze(-1)
    return values.flatten(-2)  # [experts, rows, cols]


def make_checkpoint(seed, gentle, c):
    """Tensors as they lie on disk, and the float32 state that Hugging Face computes with."""
    g = torch.Generator().manual_seed(seed)
    hidden, width, experts = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]
    q, kv = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    disk, state = {}, {}

    def bf16(name, *shape, spread, centre=0.0):
        disk[name] = (centre + spread * torch.randn(*shape, generator=g)).to(torch.bfloat16)
        state[name] = disk[name].float()

    bf16("model.embed_tokens.weight", c["vocab_size"], hidden, spread=1.0)
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        bf16(layer + "input_layernorm.weight", hidden, spread=0.2, centre=1.0)
        bf16(layer + "post_attention_layernorm.weight", hidden, spread=0.2, centre=1.0)
        for name, rows in (("q_proj", q), ("k_proj", kv), ("v_proj", kv)):
            bf16(layer + f"self_attn.{name}.weight", rows, hidden, spread=hidden ** -0.5)
            bf16(layer + f"self_attn.{name}.bias", rows, spread=0.3)
        bf16(layer + "self_attn.o_proj.weight", hidden, q, spread=gentle * q ** -0.5)
        bf16(layer + "self_attn.o_proj.bias", hidden, spread=0.1 * gentle)
        bf16(layer + "self_attn.sinks", c["num_attention_heads"], spread=1.0)
        bf16(layer + "mlp.router.weight", experts, hidden, spread=hidden ** -0.5)
        bf16(layer + "mlp.router.bias", experts, spread=0.3)
        part = layer + "mlp.experts."
        for name, rows, cols, spread in (("gate_up_proj", 2 * width, hidden, 2 * hidden ** -0.5),
                                         ("down_proj", hidden, width, gentle * width ** -0.5)):
            blocks, scales = random_mxfp4(g, experts, rows, cols, spread)
            disk[part + name + "_blocks"], disk[part + name + "_scales"] = blocks, scales
            state[part + name] = dequantise(blocks, scales).transpose(1, 2).contiguous()
        bf16(part + "gate_up_proj_bias", experts, 2 * width, spread=0.5)
        bf16(part + "down_proj_bias", experts, hidden, spread=0.1 * gentle)
    bf16("model.norm.weight", hidden, spread=0.2, centre=1.0)
    bf16("lm_head.weight", c["vocab_size"], hidden, spread=2 * hidden ** -0.5)
    return disk, state


def write_checkpoint(folder, config, disk):
    os.makedirs(folder, exist_ok=True)
    published = config.to_dict()
    keep = {k: published[k] for k in (
        "architectures model_type attention_bias attention_dropout eos_token_id head_dim hidden_act hidden_size intermediate_size "
        "layer_types max_position_embeddings num_attention_heads num_experts_per_tok num_hidden_layers num_key_value_heads "
        "num_local_experts pad_token_id rms_norm_eps rope_scaling rope_theta sliding_window tie_word_embeddings vocab_size").split()}
    keep["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}
    keep["swiglu_limit"] = 7.0
    with open(os.path.join(folder, "config.json"), "w") as out:
        json.dump(keep, out, indent=1)
    names = sorted(disk)
    shards = [names[: len(names) // 2], names[len(names) // 2:]]
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in disk.values())}, "weight_map": {}}
    for i, part in enumerate(shards):
        file = f"model-{i:05d}-of-{len(shards) - 1:05d}.safetensors"
        save_file({n: disk[n].contiguous() for n in part}, os.path.join(folder, file), metadata={"format": "pt"})
        index["weight_map"].update({n: file for n in part})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as out:
        json.dump(index, out, indent=1, sort_keys=True)


def log_probabilities(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model(ids[None]).logits[0].double(), -1)


def router_gap(model, ids):
    """The smallest distance between the last chosen and the first refused router logit in a run."""
    smallest, hooks = [float("inf")], []
    for layer in model.model.layers:
        def look(module, args, output):
            x = args[0].reshape(-1, module.hidden_dim)
            logits = torch.nn.functional.linear(x, module.weight, module.bias)
            best = torch.topk(logits, min(module.top_k + 1, module.num_experts), dim=-1).values
            if best.shape[-1] > module.top_k:
                smallest[0] = min(smallest[0], float((best[:, -2] - best[:, -1]).min()))
        hooks.append(layer.mlp.router.register_forward_hook(look))
    logprobs = log_probabilities(model, ids)
    for hook in hooks:
        hook.remove()
    return smallest[0], logprobs


def hugging_face(config, state):
    """The model in float32, and in BF16 as transformers loads it: with the frequencies of its rotary embedding in float32."""
    config._attn_implementation = "eager"
    model = GptOssForCausalLM(config).float().eval()
    model.load_state_dict(state, strict=True)
    half = GptOssForCausalLM(config).eval()
    half.load_state_dict(state, strict=True)
    half = half.to(torch.bfloat16)
    half.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq.clone()
    return model, half


def settled_prompt(model, draw):
    """draw() until rounding does not decide the routing; returns the ids and their log-probabilities."""
    while True:
        ids = draw()
        gap, logprobs = router_gap(model, ids)
        if gap > ROUTER_GAP:
            return ids, logprobs
        print(f"  redraw: router gap {gap:.1e}")


def choose_positions(g, length):
    """All of a short prompt; of a long one random ones and the last."""
    return torch.arange(length) if length <= MAX_POSITIONS else torch.unique(torch.cat(
        [torch.randint(0, length, (MAX_POSITIONS - 8,), generator=g), torch.arange(length - 8, length)]))


def greedy_continuation(model, ids, steps):
    """The likeliest tokens, and by how much each is ahead of the second."""
    greedy, gaps = [], []
    for _ in range(steps):
        gap, logprobs = router_gap(model, ids)
        top = torch.topk(logprobs[-1], 2)
        greedy.append(int(top.indices[0]))
        # where the routing of a new token is as good as tied, nothing after it is promised
        gaps.append(float(top.values[0] - top.values[1]) if gap > ROUTER_GAP else 0.0)
        ids = torch.cat([ids, top.indices[:1]])
    return greedy, gaps


def run_prompt(model, half, g, length, vocab, whole):
    ids, logprobs = settled_prompt(model, lambda: torch.randint(0, vocab, (length,), generator=g))
    chosen = choose_positions(g, length)
    best = torch.topk(logprobs[chosen], TARGETS_BEST, dim=-1).indices
    other = torch.randint(0, vocab, (len(chosen), TARGETS_RANDOM), generator=g)
    targets = torch.cat([best, other], -1)
    truth = torch.gather(logprobs[chosen], 1, targets)
    rounded = log_probabilities(half, ids)
    everything = {"whole": logprobs[chosen].float()} if whole else {}
    bf16_error = float((torch.gather(rounded[chosen], 1, targets) - truth).abs().mean())
    bf16_kl = float((logprobs.exp() * (logprobs - rounded)).sum(-1).mean())
    greedy, gaps = greedy_continuation(model, ids, GREEDY)
    tensors = {"ids": ids.int(), "positions": chosen.int(), "targets": targets.int(), "logprobs": truth.float(),
               "greedy": torch.tensor(greedy, dtype=torch.int32), "gaps": torch.tensor(gaps), **everything}
    return tensors, {"tokens": length, "hf_bf16_mean_abs": bf16_error, "hf_bf16_kl": bf16_kl}


def main(root):
    torch.set_num_threads(2)
    for name, (seed, gentle, shape, lengths) in CASES.items():
        print(name)
        config = GptOssConfig(attention_bias=True, max_position_embeddings=1024, eos_token_id=0, pad_token_id=0,
                              tie_word_embeddings=False, **shape)
        config.architectures = ["GptOssForCausalLM"]
        disk, state = make_checkpoint(seed, gentle, shape)
        folder = os.path.join(root, name)
        write_checkpoint(folder, config, disk)
        model, half = hugging_face(config, state)
        g = torch.Generator().manual_seed(1000 + seed)
        golden, report = {}, []
        for i, length in enumerate(lengths):
            tensors, line = run_prompt(model, half, g, length, shape["vocab_size"], gentle < 1)
            golden.update({f"prompt.{i}.{k}": v.contiguous() for k, v in tensors.items()})
            report.append(line)
            print(" ", line)
        save_file(golden, os.path.join(folder, "golden.safetensors"))
        with open(os.path.join(folder, "golden.json"), "w") as out:
            json.dump({"torch": torch.__version__, "prompts": report}, out, indent=1)


if __name__ == "__main__":
    main(sys.argv[1])
