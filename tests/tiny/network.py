"""gpt-oss for training at a tiny size: every expert is computed for every token and weighted by its routing, zero for those not chosen.

That wastes half of the expert work and needs no gathering: two plain products a layer. Formulas: openai/gpt-oss `gpt_oss/torch/model.py`.
"""
import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

import mxfp4


@dataclasses.dataclass
class Shape:
    vocab: int
    layers: int = 6
    hidden: int = 192
    intermediate: int = 192
    heads: int = 8
    kv_heads: int = 4
    head_dim: int = 32
    experts: int = 8
    top_k: int = 4
    window: int = 128
    eps: float = 1e-5
    theta: float = 150000.0
    factor: float = 32.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    original_context: int = 512
    limit: float = 7.0
    alpha: float = 1.702

    def sliding(self, layer):
        return layer % 2 == 0

    def positions(self):
        return int(self.factor * self.original_context)


def yarn(shape):
    """Frequencies [head_dim / 2] and the factor of both cosine and sine."""
    half = shape.head_dim // 2
    frequencies = shape.theta ** (-torch.arange(half, dtype=torch.float32) / half)

    def pair_of(rotations):
        return shape.head_dim * math.log(shape.original_context / (rotations * 2 * math.pi)) / (2 * math.log(shape.theta))

    low, high = max(pair_of(shape.beta_fast), 0.0), min(pair_of(shape.beta_slow), shape.head_dim - 1)
    ramp = ((torch.arange(half) - low) / (high - low)).clamp(0, 1)
    return frequencies / shape.factor * ramp + frequencies * (1 - ramp), 0.1 * math.log(shape.factor) + 1


def rotate(x, cos, sin):
    """x [rows, tokens, heads, head_dim], cos and sin [rows, tokens, 1, head_dim / 2]."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def project(linear, x):
    """In the type of x, whatever the type of the parameters."""
    return F.linear(x, linear.weight.to(x.dtype), None if linear.bias is None else linear.bias.to(x.dtype))


class Norm(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(shape.hidden)), shape.eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    def __init__(self, shape, depth):
        super().__init__()
        q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.shape = shape
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(shape.hidden, n) for n in (q, kv, kv))
        self.o_proj = nn.Linear(q, shape.hidden)
        self.sinks = nn.Parameter(torch.zeros(shape.heads))
        for linear, std in ((self.q_proj, 1), (self.k_proj, 1), (self.v_proj, 1), (self.o_proj, depth)):
            nn.init.normal_(linear.weight, std=std * linear.in_features ** -0.5)
            nn.init.zeros_(linear.bias)

    def forward(self, x, cos, sin, allowed):
        """allowed: [rows, 1, tokens, tokens], which key (last) a query sees."""
        s = self.shape
        rows, tokens, _ = x.shape
        q = rotate(project(self.q_proj, x).view(rows, tokens, s.heads, s.head_dim), cos, sin).to(x.dtype)
        k = rotate(project(self.k_proj, x).view(rows, tokens, s.kv_heads, s.head_dim), cos, sin).to(x.dtype)
        v = project(self.v_proj, x).view(rows, tokens, s.kv_heads, s.head_dim)
        k, v = (t.repeat_interleave(s.heads // s.kv_heads, dim=2) for t in (k, v))
        scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1)
        scores = torch.where(allowed, scores.float() * s.head_dim ** -0.5, -1e30)
        sinks = self.sinks.view(1, -1, 1, 1)
        top = torch.maximum(scores.amax(-1, keepdim=True), sinks).detach()
        weights = torch.exp(scores - top)
        total = weights.sum(-1, keepdim=True) + torch.exp(sinks - top)
        out = (weights / total).to(v.dtype) @ v.transpose(1, 2)
        return project(self.o_proj, out.transpose(1, 2).reshape(rows, tokens, -1))


class Experts(nn.Module):
    def __init__(self, shape, depth):
        super().__init__()
        e, h, n = shape.experts, shape.hidden, shape.intermediate
        self.shape = shape
        self.router = nn.Linear(h, e)
        nn.init.normal_(self.router.weight, std=h ** -0.5)
        nn.init.zeros_(self.router.bias)
        self.gate_up = nn.Parameter(torch.randn(e, 2 * n, h) * h ** -0.5)
        self.gate_up_bias = nn.Parameter(torch.zeros(e, 2 * n))
        self.down = nn.Parameter(torch.randn(e, h, n) * depth * n ** -0.5)
        self.down_bias = nn.Parameter(torch.zeros(e, h))

    def forward(self, x):
        """Also returns how evenly tokens spread over experts: 1 is even."""
        s = self.shape
        tokens = x.reshape(-1, s.hidden)
        logits = project(self.router, tokens.float())
        worst_chosen = logits.topk(s.top_k, dim=-1).values[:, -1:]
        routing = logits.masked_fill(logits < worst_chosen, -torch.inf).softmax(-1)
        balance = s.experts / s.top_k * ((routing > 0).float().mean(0) * logits.softmax(-1).mean(0)).sum()
        gate_up = mxfp4.rounded(self.gate_up).flatten(0, 1)
        down = mxfp4.rounded(self.down).transpose(1, 2).flatten(0, 1)
        h = F.linear(tokens, gate_up.to(x.dtype), self.gate_up_bias.flatten().to(x.dtype)).view(-1, s.experts, s.intermediate, 2).float()
        gate, up = h[..., 0].clamp(max=s.limit), h[..., 1].clamp(-s.limit, s.limit)
        act = gate * torch.sigmoid(s.alpha * gate) * (up + 1) * routing.unsqueeze(-1)
        out = act.to(x.dtype).flatten(1) @ down.to(x.dtype) + (routing @ self.down_bias).to(x.dtype)
        return out.view(x.shape), balance


class Layer(nn.Module):
    def __init__(self, shape, depth):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(shape), Norm(shape)
        self.self_attn, self.mlp = Attention(shape, depth), Experts(shape, depth)


class Network(nn.Module):
    def __init__(self, shape, dtype):
        """dtype: of the products; sums between layers stay float32."""
        super().__init__()
        self.shape, self.dtype = shape, dtype
        depth = (2 * shape.layers) ** -0.5
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape, depth) for _ in range(shape.layers))
        self.norm = Norm(shape)
        self.lm_head = nn.Linear(shape.hidden, shape.vocab, bias=False)
        nn.init.normal_(self.embed_tokens.weight, std=0.5)
        nn.init.normal_(self.lm_head.weight, std=0.5 * shape.hidden ** -0.5)
        frequencies, self.concentration = yarn(shape)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def masks(self, documents):
        """For sliding and for full layers: keys of the same conversation, not later than the query."""
        place = torch.arange(documents.shape[1], device=documents.device)
        back = place[:, None] - place[None, :]
        full = (documents[:, :, None] == documents[:, None, :]) & (back >= 0)
        return (full & (back < self.shape.window)).unsqueeze(1), full.unsqueeze(1)

    def forward(self, ids, positions, documents):
        """[rows, tokens] each; several conversations lie in a row, told apart by `documents`. Returns logits and the mean balance."""
        angle = positions.float().unsqueeze(-1) * self.frequencies
        cos, sin = ((f(angle) * self.concentration).unsqueeze(2) for f in (torch.cos, torch.sin))
        sliding, full = self.masks(documents)
        x = F.embedding(ids, self.embed_tokens.weight)
        balances = []
        for i, layer in enumerate(self.layers):
            mask = sliding if self.shape.sliding(i) else full
            x = x + layer.self_attn(layer.input_layernorm(x).to(self.dtype), cos, sin, mask).float()
            y, balance = layer.mlp(layer.post_attention_layernorm(x).to(self.dtype))
            x = x + y.float()
            balances.append(balance)
        logits = project(self.lm_head, self.norm(x).to(self.dtype))
        return logits, torch.stack(balances).mean()
