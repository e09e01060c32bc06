"""MXFP4 for training: values as they will be after rounding, with a gradient; and the bytes of a checkpoint.

A block is 32 neighbours along the last axis that share a power of two; a value is one of +-{0, .5, 1, 1.5, 2, 3, 4, 6} times it
(OCP Microscaling Formats 1.0; layout: openai/gpt-oss `gpt_oss/torch/weights.py`).
"""
import torch

BLOCK, LARGEST, BIAS = 32, 6.0, 127


def scaled(weight):
    """[..., n] -> ([..., n / 32, 32] in units of the block's scale, [..., n / 32, 1] exponents). No value is beyond the largest code."""
    blocks = weight.unflatten(-1, (-1, BLOCK))
    largest = blocks.abs().amax(-1, keepdim=True).clamp_min(2.0 ** -100)
    exponent = torch.ceil(torch.log2(largest / LARGEST))
    return blocks * torch.exp2(-exponent), exponent


def round_to_codes(units):
    """To the nearest of the eight magnitudes: steps of a half below 2, of one below 4, of two above."""
    size = units.abs()
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return torch.copysign((torch.round(size / step) * step).clamp_max(LARGEST), units)


def rounded(weight):
    """The weight as the checkpoint will hold it. The gradient passes straight through the rounding."""
    with torch.no_grad():
        units, exponent = scaled(weight)
        value = (round_to_codes(units) * torch.exp2(exponent)).flatten(-2)
    return weight + (value - weight).detach()


def packed(weight):
    """[..., n] -> blocks U8 [..., n / 32, 16], low nibble first, and scales U8 [..., n / 32]."""
    units, exponent = scaled(weight.detach().float().cpu())
    value = round_to_codes(units)
    magnitudes = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    codes = torch.bucketize(value.abs(), magnitudes).to(torch.uint8) | (torch.signbit(value).to(torch.uint8) << 3)
    return codes[..., 0::2] | (codes[..., 1::2] << 4), (exponent.squeeze(-1) + BIAS).to(torch.uint8)


def unpacked(blocks, scales):
    table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    units = torch.stack([table[(blocks & 15).long()], table[(blocks >> 4).long()]], -1).flatten(-2)
    return (units * torch.exp2(scales.float() - BIAS).unsqueeze(-1)).flatten(-2)
