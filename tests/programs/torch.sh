#!/bin/bash
# PyTorch on the CPU: a small network that learns, with a data loader of two processes.
. "$(dirname "$0")/common.sh"
python=/usr/bin/python3
have() { $python -c 'import torch' 2>/dev/null || skip "torch is not installed"; }
run() {
    cat > job.py <<'P'
import os, torch
from torch.utils.data import DataLoader, TensorDataset
from counting import reached
torch.manual_seed(1)
x = torch.randn(512, 20)
y = x.sum(1, keepdim=True)
net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.01)
if __name__ == "__main__":
    n = 0
    while not os.path.exists("stop"):
        for a, b in DataLoader(TensorDataset(x, y), batch_size=64, num_workers=2):
            opt.zero_grad()
            loss = ((net(a) - b) ** 2).mean()
            loss.backward()
            opt.step()
            n += 1
            reached(n)
        if not torch.isfinite(loss):
            raise SystemExit(f"loss {loss}")
P
    exec $python job.py
}
phase "$1"
