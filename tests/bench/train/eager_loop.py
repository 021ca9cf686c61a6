# SPDX-License-Identifier: Apache-2.0
"""The peer of the train benches: the same GPT and schedule in eager PyTorch. Prints seconds, loss and CPU seconds.

    eager_loop.py WIDTH,DEPTH,HEADS,CONTEXT,VOCAB,BATCH fp32|bf16 STEPS TEXT THREADS [DEVICE]
"""
import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, DEPTH, HEADS, CONTEXT, VOCAB, BATCH = (int(v) for v in sys.argv[1].split(","))
PRECISION, STEPS, TEXT, THREADS = sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
DEVICE = sys.argv[6] if len(sys.argv) > 6 else "cpu"
WARM_STEPS = 0 if DEVICE == "cpu" else 5


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc, self.proj = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x, mask):
        b, t, w = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(b, t, 3, HEADS, w // HEADS).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(w // HEADS) + mask.to(q.dtype)
        mixed = torch.softmax(scores, -1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, w))
        return x + self.proj(F.gelu(self.fc(self.ln_2(x))))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCAB, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.ln_f = nn.LayerNorm(WIDTH)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, 0.02)
        self.register_buffer("mask", torch.full((CONTEXT, CONTEXT), -math.inf).triu_(1))

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight
        for block in self.blocks:
            x = block(x, self.mask)
        return self.ln_f(x) @ self.wte.weight.t()


def main():
    torch.set_num_threads(THREADS)
    torch.manual_seed(7)
    text = torch.frombuffer(bytearray(open(TEXT, "rb").read()), dtype=torch.uint8).long()
    model = Gpt().to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    begin, cpu_begin, loss = time.perf_counter(), time.process_time(), None
    for step in range(WARM_STEPS + STEPS):
        if step == WARM_STEPS and step > 0:
            loss.item()
            begin, cpu_begin = time.perf_counter(), time.process_time()
        places = torch.randint(0, len(text) - CONTEXT - 1, (BATCH,)).tolist()
        rows = torch.stack([text[p : p + CONTEXT + 1] for p in places]).to(DEVICE)
        optimizer.zero_grad()
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=PRECISION == "bf16"):
            logits = model(rows[:, :-1])
        loss = F.cross_entropy(logits.float().view(-1, VOCAB), rows[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    last = loss.item()  # waits for the device
    print(f"{time.perf_counter() - begin:.6f} {last:.6f} {time.process_time() - cpu_begin:.6f}")


main()
