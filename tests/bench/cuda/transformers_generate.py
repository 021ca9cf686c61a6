#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same 1.1 B Llama in bf16 under transformers: what bench_cuda is compared with.

    python3 tests/bench/cuda/transformers_generate.py       one line a figure
"""
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def timed(work):
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=32000, hidden_size=2048, num_hidden_layers=22, num_attention_heads=32,
        num_key_value_heads=4, intermediate_size=5632, max_position_embeddings=2048,
        rms_norm_eps=1e-5, tie_word_embeddings=False)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    new = 128
    with torch.inference_mode():
        for streams in (1, 64):
            prompt = torch.randint(0, 32000, (streams, 64), device="cuda")
            def generate(count):
                return model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count,
                                      min_new_tokens=count, do_sample=False, pad_token_id=0)
            generate(4)
            best = min(timed(lambda: generate(new)) - timed(lambda: generate(1)) for _ in range(2))
            print(f"transformers generate, {streams} streams: {streams * (new - 1) / best:.0f} tokens/s")
        prompt = torch.randint(0, 32000, (1, 2048), device="cuda")
        model(prompt, logits_to_keep=1)
        best = min(timed(lambda: model(prompt, logits_to_keep=1)) for _ in range(3))
        print(f"transformers prompt of 2048: {2048 / best:.0f} tokens/s")


if __name__ == "__main__":
    main()
