// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// What a tokenizer file, a text or a template may ask for.
namespace worker::text::limits {

inline constexpr std::size_t kFileBytes = std::size_t{64} * 1024 * 1024;
inline constexpr std::size_t kConfigBytes = std::size_t{4} * 1024 * 1024;
inline constexpr std::size_t kVocabulary = std::size_t{1} << 20;
inline constexpr std::size_t kMerges = std::size_t{1} << 20;
inline constexpr std::size_t kTokenBytes = 4096;       // one token of the vocabulary
inline constexpr std::size_t kAddedTokens = 1U << 16;  // tokens matched before the model
inline constexpr std::size_t kAddedTokenBytes = 256;   // bounds the work per byte of text
inline constexpr std::size_t kTextBytes =
    std::size_t{16} * 1024 * 1024;                 // 28 bytes of memory a byte
inline constexpr std::size_t kSteps = 16;          // parts of one kind in a Sequence
inline constexpr std::size_t kTemplateItems = 64;  // post-processor
inline constexpr std::size_t kJsonDepth = 32;
inline constexpr std::size_t kJsonNodes = std::size_t{1} << 20;  // besides vocabulary and merges

// Chat templates
inline constexpr std::size_t kTemplateBytes = 256 * 1024;
inline constexpr std::size_t kTemplateDepth = 200;  // levels of one expression or of nested blocks
inline constexpr std::size_t kRenderDepth = 400;    // those levels with macros that call macros
inline constexpr std::size_t kRenderBytes = kTextBytes;
// Bytes made or looked at, and steps.
inline constexpr std::size_t kRenderWork = std::size_t{1} << 26;
inline constexpr std::size_t kMessageNodes = std::size_t{1} << 18;

}  // namespace worker::text::limits
