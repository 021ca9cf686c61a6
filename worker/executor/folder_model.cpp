// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/folder_model.hpp"

#include "worker/model/mapped_file.hpp"
#include "worker/text/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace worker::executor {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

std::string_view text_of(const model::MappedFile& file) {
    const auto bytes = file.bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_there(const fs::path& path) {
    std::error_code ignored;
    return fs::symlink_status(path, ignored).type() != fs::file_type::not_found;
}

/// The text readers bound the sizes of what they are given.
Result<text::Tokenizer> read_tokenizer(const fs::path& folder) {
    if (is_there(folder / "tokenizer.json")) {
        TRY_ASSIGN(const auto file, model::MappedFile::open(folder / "tokenizer.json"));
        return text::Tokenizer::from_json(text_of(file));
    }
    // SentencePiece's library cannot live in one process with torch (worker/text/CMakeLists.txt).
    if (is_there(folder / "tokenizer.model"))
        return fail(ErrorCode::unsupported,
                    "tokenizer.model alone is not served: add the model's tokenizer.json");
    return fail(ErrorCode::data_missing, "the folder has no tokenizer.json");
}

Result<text::TokenizerConfig> read_config(const fs::path& folder) {
    if (!is_there(folder / "tokenizer_config.json")) return text::TokenizerConfig();
    TRY_ASSIGN(const auto file, model::MappedFile::open(folder / "tokenizer_config.json"));
    return text::parse_tokenizer_config(text_of(file));
}

class FolderStream final : public model::TokenStream {
 public:
    explicit FolderStream(const text::Tokenizer& tokenizer) : decoder_(tokenizer) {}
    std::string push(std::uint32_t token) override { return decoder_.push(token); }
    std::string finish() override { return decoder_.finish(); }

 private:
    text::StreamDecoder decoder_;
};

class FolderVocabulary final : public model::Vocabulary {
 public:
    explicit FolderVocabulary(text::Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
    Result<std::vector<std::uint32_t>> encode(std::string_view text) const override {
        return tokenizer_.encode(text, {.add_special = true, .match_special = false});
    }
    std::unique_ptr<model::TokenStream> stream() const override {
        return std::make_unique<FolderStream>(tokenizer_);
    }
    std::string bytes(std::uint32_t token) const override { return tokenizer_.bytes_of(token); }
    std::string label(std::uint32_t token) const override { return tokenizer_.token_of(token); }

 private:
    text::Tokenizer tokenizer_;
};

}  // namespace

Result<FolderWords> FolderWords::open(const fs::path& folder) {
    TRY_ASSIGN(auto tokenizer, read_tokenizer(folder));
    TRY_ASSIGN(auto config, read_config(folder));
    Result<text::ChatTemplate> chat =
        fail(ErrorCode::unsupported, "the model has no chat template: use /v1/completions");
    if (const std::string* source = config.chat_template())
        chat = text::ChatTemplate::parse(*source);
    return FolderWords(std::move(tokenizer), std::move(config), std::move(chat));
}

std::shared_ptr<const model::Vocabulary> FolderWords::vocabulary() const {
    return std::make_shared<FolderVocabulary>(tokenizer_);
}

Result<std::string> FolderWords::render(std::string_view messages) const {
    if (!chat_) return tl::make_unexpected(chat_.error());
    TRY_ASSIGN(auto list, text::parse_json(messages, text::limits::kMessageNodes));
    if (list.list() == nullptr) return fail(ErrorCode::invalid_request, "messages are a list");
    return render(std::move(list), text::Value(), true);
}

Result<std::string> FolderWords::render(text::Value messages, text::Value tools,
                                        bool prompt) const {
    if (!chat_) return tl::make_unexpected(chat_.error());
    TRY_ASSIGN(const auto context,
               text::make_chat_context(config_, std::move(messages), std::move(tools), prompt));
    return chat_->render(context);
}

Result<std::vector<std::uint32_t>> FolderWords::encode(const GenerateRequest& request) const {
    std::vector<std::uint32_t> tokens;
    if (request.messages.empty()) {
        TRY_ASSIGN(tokens, vocabulary()->encode(request.prompt));
    } else {
        TRY_ASSIGN(const std::string text, render(request.messages));
        // The template has put the special tokens where they belong.
        TRY_ASSIGN(tokens, tokenizer_.encode(text, {.add_special = false, .match_special = true}));
    }
    if (tokens.size() > request.prompt_tokens_max)
        return fail(ErrorCode::context_length_exceeded,
                    fmt::format("the input has {} tokens, at most {} are paid for", tokens.size(),
                                request.prompt_tokens_max));
    return tokens;
}

model::SamplingParams with_defaults(const GenerateRequest& request,
                                    const model::GenerationDefaults& defaults) {
    model::SamplingParams out = request.params;
    constexpr double kTemperatureMax = 2.0;  // what the sampler takes
    if (!request.temperature_given)
        out.temperature = std::min(defaults.temperature.value_or(out.temperature), kTemperatureMax);
    if (!request.top_p_given) out.top_p = defaults.top_p.value_or(out.top_p);
    if (!request.repetition_given)
        out.repetition_penalty = defaults.repetition_penalty.value_or(out.repetition_penalty);
    if (out.top_k == 0) out.top_k = defaults.top_k.value_or(0);
    return out;
}

}  // namespace worker::executor
