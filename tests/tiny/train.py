#!/usr/bin/env python3
"""Trains the tiny model and writes its checkpoint.

    python3 tests/tiny/train.py --out DIR [--minutes 5] [--steps N] [--seed 1] [--rows 64]

The number of steps is --steps, or fewer if they would take longer than --minutes; which of the two it was is printed, and the same
--steps, --seed and --rows give the same run again on the same machine. README.md tells what to look at.
"""
import argparse
import json
import math
import os
import pathlib
import time

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # products that repeat bit by bit
import torch
from torch.nn import functional as F

import batches
import checkpoint
from network import Network, Shape
from vocabulary import Vocabulary

TIMED_FROM, TIMED_TO = 40, 100  # steps whose time tells how many fit
BALANCE = 0.01                  # weight of even routing in the loss
RESERVE = 8                     # seconds for the last measurement and for writing


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0, help="of the whole run, compilation and data included")
    parser.add_argument("--steps", type=int, default=14000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=64, help=f"of {batches.ROW} tokens in a step")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="highest learning rate")
    parser.add_argument("--workers", type=int, default=max(1, min(15, (os.cpu_count() or 2) - 1)))
    parser.add_argument("--measure-every", type=int, default=500)
    parser.add_argument("--held-out", type=int, default=50, help="conversations of each category that are measured")
    parser.add_argument("--layers", type=int, default=Shape.layers)
    parser.add_argument("--hidden", type=int, default=Shape.hidden)
    parser.add_argument("--intermediate", type=int, default=Shape.intermediate)
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def optimiser(network, rate):
    """Matrices decay; what is added or only scales does not."""
    matrices = [p for n, p in network.named_parameters() if p.dim() > 1 and "bias" not in n and "embed" not in n]
    others = [p for n, p in network.named_parameters() if not any(p is m for m in matrices)]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-9, fused=network.lm_head.weight.is_cuda)


def rate_at(step, steps, highest):
    warm = min(300, steps // 10 + 1)
    if step < warm:
        return highest * (step + 1) / warm
    return highest * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


def loss_of(network, tokens, positions, documents, targets):
    logits, balance = network(tokens, positions, documents)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=batches.IGNORED), balance


@torch.no_grad()
def measure(network, held_out, device):
    """Share of held-out conversations of which every token is the model's first choice: greedy decoding would write exactly them."""
    right, total = {}, {}
    for arrays, names in held_out:
        tokens, positions, documents, targets = (a.to(device, torch.long) for a in arrays)
        wrong = (network(tokens, positions, documents)[0].argmax(-1) != targets) & (targets != batches.IGNORED)
        wrong = wrong.cpu()
        for category, effort, (row, at, size) in names:
            good = not bool(wrong[row, at:at + size].any())
            for key in (category, effort, "all"):
                right[key] = right.get(key, 0) + good
                total[key] = total.get(key, 0) + 1
    return {key: right[key] / total[key] for key in total}


def say(line):
    print(line, flush=True)


def show(step, accuracy):
    say(f"  held out, exactly right at {step}: all {accuracy['all']:.1%}  " + " ".join(
        f"{key} {value:.0%}" for key, value in accuracy.items() if key != "all"))


class Run:
    def __init__(self, args):
        self.args, self.began = args, time.monotonic()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(args.seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        self.vocabulary = Vocabulary()
        shape = Shape(self.vocabulary.size, layers=args.layers, hidden=args.hidden, intermediate=args.intermediate)
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.network = Network(shape, dtype).to(self.device)
        self.optimiser = optimiser(self.network, args.rate)
        self.loss_of = loss_of if args.no_compile or self.device.type == "cpu" else torch.compile(loss_of, dynamic=False)
        self.log, self.history = [], []
        n = sum(p.numel() for p in self.network.parameters())
        say(f"{n / 1e6:.2f} million parameters, vocabulary {self.vocabulary.size}, {self.device}, torch {torch.__version__}, {args.workers} workers")

    def seconds(self):
        return time.monotonic() - self.began

    def step(self, number, arrays, steps):
        data = [a.to(self.device, torch.long, non_blocking=True) for a in arrays]
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(number, steps, self.args.rate)
        try:
            loss, balance = self.loss_of(self.network, *data)
        except Exception as error:  # a machine whose torch cannot compile; slower, the same result
            if number or self.loss_of is loss_of:
                raise
            say(f"not compiled: {type(error).__name__}: {str(error)[:300]}")
            self.loss_of = loss_of
            loss, balance = self.loss_of(self.network, *data)
        (loss + BALANCE * balance).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.log.append(torch.stack([loss.detach(), balance.detach(), norm.detach()]))

    def fitting(self, number, timed_from):
        """How many steps the limit allows, from the time that the last ones took."""
        pace = (self.seconds() - timed_from) / (TIMED_TO - TIMED_FROM)
        left = self.args.minutes * 60 - RESERVE - self.seconds()
        fit = number + int(left / pace * 0.97)
        steps = min(self.args.steps, fit)
        say(f"{pace * 1000:.1f} ms a step; {steps} steps ({'--minutes' if steps < self.args.steps else '--steps'} decides)")
        return steps

    def report(self, number, since):
        loss, balance, norm = torch.stack(self.log).float().mean(0).tolist()
        rate = len(self.log) * self.args.rows * batches.ROW / (self.seconds() - since)
        self.log.clear()
        self.history.append({"step": number, "loss": round(loss, 5), "seconds": round(self.seconds(), 1)})
        say(f"step {number:6d}  loss {loss:.4f}  balance {balance:.3f}  gradient {norm:.2f}  {rate / 1e3:.0f}k tokens/s  {self.seconds():.0f} s")

    def train(self, held_out):
        steps, done, timed_from, since = self.args.steps, 0, 0.0, self.seconds()
        loader = torch.utils.data.DataLoader(batches.Batches(self.args.seed, self.args.rows, steps), batch_size=None, shuffle=False,
                                             num_workers=self.args.workers, prefetch_factor=3, pin_memory=self.device.type == "cuda")
        for number, arrays in enumerate(loader):
            if number in (TIMED_FROM, TIMED_TO) and self.device.type == "cuda":
                torch.cuda.synchronize()
            if number == TIMED_FROM:
                timed_from = self.seconds()
            elif number == TIMED_TO:
                steps = self.fitting(number, timed_from)
            if number >= steps or self.seconds() > self.args.minutes * 60 - RESERVE:
                break
            self.step(number, arrays, steps)
            done = number + 1
            if done % min(100, self.args.measure_every) == 0:
                self.report(done, since)
                since = self.seconds()
            if done % self.args.measure_every == 0:
                show(done, measure(self.network, held_out, self.device))
                since = self.seconds()
        return done

    def finish(self, held_out, steps):
        checkpoint.to_bf16(self.network)
        accuracy = measure(self.network, held_out, self.device)
        show("the end, as written", accuracy)
        size = checkpoint.write(self.args.out, self.network, self.vocabulary)
        summary = {"arguments": {k: str(v) if k == "out" else v for k, v in vars(self.args).items()}, "steps": steps, "seconds": round(self.seconds(), 1),
                   "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu", "torch": torch.__version__,
                   "held_out_exactly_right": {k: round(v, 4) for k, v in accuracy.items()}, "loss": self.history}
        summary["arguments"].pop("out")
        (self.args.out / "training.json").write_text(json.dumps(summary, indent=1) + "\n")
        say(f"{self.args.out}: {size / 1e6:.2f} MB after {steps} steps and {self.seconds():.0f} s")


def main():
    args = arguments()
    run = Run(args)
    held_out = batches.held_out(args.seed, args.held_out, args.rows)
    steps = run.train(held_out)
    run.finish(held_out, steps)


if __name__ == "__main__":
    main()
