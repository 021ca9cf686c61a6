// SPDX-License-Identifier: Apache-2.0
// A chat template, a byte 0xFF, what to render it with: it ends, within its limits, in UTF-8 or a
// refusal.
#include "ledger/base/check.hpp"
#include "worker/text/chat_template.hpp"
#include "worker/text/limits.hpp"
#include "worker/text/utf8.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::string_view kMessages =
        R"({"messages":[{"role":"system","content":" é "},{"role":"user","content":"a\nb"}],)"
        R"("tools":[{"f":{"x":1.5}}],"add_generation_prompt":true,"bos_token":"<s>"})";
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    const std::size_t cut = all.find('\xff');
    const auto chat = worker::text::ChatTemplate::parse(all.substr(0, cut));
    if (!chat) return 0;
    const auto given = worker::text::parse_json(
        cut == std::string_view::npos ? kMessages : all.substr(cut + 1), 10'000);
    if (!given) return 0;
    const auto text = chat->render(*given);
    if (!text) return 0;
    MR_CHECK(text->size() <= worker::text::limits::kRenderBytes);
    MR_CHECK(worker::text::is_utf8(*text));
    return 0;
}
