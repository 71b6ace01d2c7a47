#!/usr/bin/env python3
"""Counts to N and checkpoints itself every M steps: selfckpt.py N M. Start it with ckpt_launch, or without."""
import sys

import ckpt

last, every = int(sys.argv[1]), int(sys.argv[2])
for step in range(1, last + 1):
    if step % every == 0 and ckpt.enabled():
        how = ckpt.checkpoint()
        print(f"step {step}: {how}", flush=True)
print(f"done at {last} after {ckpt.restarts()} restarts", flush=True)
