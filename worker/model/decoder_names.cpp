// SPDX-License-Identifier: Apache-2.0
#include "worker/model/decoder_names.hpp"

namespace worker::model {

namespace {

DecoderNames llama_names() {
    DecoderNames out;
    out.embedding = "model.embed_tokens.weight";
    out.head = "lm_head.weight";
    out.last = "model.norm";
    out.layers = "model.layers";
    out.before_attention = "input_layernorm";
    out.qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    out.query_norm = "self_attn.q_norm.weight";
    out.key_norm = "self_attn.k_norm.weight";
    out.attention_out = "self_attn.o_proj";
    out.before_mlp = "post_attention_layernorm";
    out.gate = "mlp.gate_proj";
    out.up = "mlp.up_proj";
    out.down = "mlp.down_proj";
    return out;
}

DecoderNames gpt2_names() {
    DecoderNames out;
    out.embedding = "wte.weight";
    out.positions = "wpe.weight";
    out.head = "lm_head.weight";
    out.last = "ln_f";
    out.layers = "h";
    out.before_attention = "ln_1";
    out.qkv = {"attn.c_attn"};
    out.attention_out = "attn.c_proj";
    out.before_mlp = "ln_2";
    out.up = "mlp.c_fc";
    out.down = "mlp.c_proj";
    return out;
}

DecoderNames neox_names() {
    DecoderNames out;
    out.embedding = "gpt_neox.embed_in.weight";
    out.head = "embed_out.weight";
    out.last = "gpt_neox.final_layer_norm";
    out.layers = "gpt_neox.layers";
    out.before_attention = "input_layernorm";
    out.qkv = {"attention.query_key_value"};
    out.attention_out = "attention.dense";
    out.before_mlp = "post_attention_layernorm";
    out.up = "mlp.dense_h_to_4h";
    out.down = "mlp.dense_4h_to_h";
    return out;
}

}  // namespace

DecoderNames decoder_names(WeightNames scheme) {
    switch (scheme) {
        case WeightNames::kLlama:
            break;
        case WeightNames::kGpt2:
            return gpt2_names();
        case WeightNames::kNeox:
            return neox_names();
    }
    return llama_names();
}

}  // namespace worker::model
