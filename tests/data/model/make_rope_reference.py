#!/usr/bin/env python3
"""Writes rope_reference.json: inverse frequencies, cos and sin of Hugging Face's GptOssRotaryEmbedding, in float32.

Needs torch and transformers from PyPI; made with torch 2.15.0, transformers 4.57.1. Run: ./make_rope_reference.py > rope_reference.json
"""
import json
import sys

import torch
from transformers import GptOssConfig
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssRotaryEmbedding

YARN = {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "original_max_position_embeddings": 4096}
CASES = [
    ("published", 64, 150000.0, 131072, {**YARN, "truncate": False}),
    ("truncate is on where it is not named", 64, 150000.0, 131072, YARN),
    ("plain", 64, 150000.0, 131072, None),
    ("default type", 32, 10000.0, 4096, {"rope_type": "default"}),
    ("a short context clamps the ramp below", 32, 10000.0, 512, {**YARN, "factor": 4.0, "original_max_position_embeddings": 128}),
    ("a small theta clamps the ramp above", 32, 100.0, 131072, {**YARN, "factor": 2.0, "original_max_position_embeddings": 65536, "truncate": False}),
    ("tiny", 64, 150000.0, 16384, {**YARN, "original_max_position_embeddings": 512, "truncate": False}),
    ("attention_factor", 64, 150000.0, 131072, {**YARN, "truncate": False, "attention_factor": 1.25}),
    ("mscale", 64, 150000.0, 131072, {**YARN, "truncate": False, "mscale": 1.0, "mscale_all_dim": 0.5}),
    ("context from max_position_embeddings", 64, 150000.0, 8192, {"rope_type": "yarn", "factor": 2.0}),
]
POSITIONS = [0, 1, 2, 127, 128, 700, 1023]

cases = []
for name, head_dim, theta, positions, scaling in CASES:
    config = GptOssConfig(num_hidden_layers=2, num_local_experts=4, vocab_size=128, hidden_size=64, intermediate_size=64, head_dim=head_dim,
                          num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=positions, rope_theta=theta,
                          rope_scaling=scaling)
    rotary = GptOssRotaryEmbedding(config)
    cos, sin = rotary(torch.zeros(1, dtype=torch.float32), torch.tensor([POSITIONS]))
    cases.append({"name": name, "head_dim": head_dim, "rope_theta": theta, "max_position_embeddings": positions, "rope_scaling": scaling,
                  "inv_freq": rotary.inv_freq.tolist(), "attention_scaling": rotary.attention_scaling, "cos": cos[0].tolist(), "sin": sin[0].tolist()})
json.dump({"positions": POSITIONS, "cases": cases}, sys.stdout, separators=(",", ":"))
print()
