// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/finetune_data.hpp"

#include "worker/model/mapped_file.hpp"
#include "worker/text/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace worker::executor {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using text::Value;

namespace {

tl::unexpected<ledger::base::Error> invalid(std::string detail) {
    return fail(ErrorCode::data_invalid, std::move(detail));
}

/// Tokens so far, and which of them the model shall learn to say.
class Draft {
 public:
    explicit Draft(const text::Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

    Result<void> add(std::string_view part, const text::EncodeOptions& options, bool learned) {
        TRY_ASSIGN(const auto tokens, tokenizer_->encode(part, options));
        tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
        learned_.resize(tokens_.size(), learned ? 1 : 0);
        return {};
    }
    void add_end(const text::TokenizerConfig& config) {
        if (!config.eos_token) return;
        const auto end = tokenizer_->id_of(*config.eos_token);
        if (!end) return;
        tokens_.push_back(*end);
        learned_.push_back(1);
    }
    void give(model::ExampleSet& examples) const { examples.add(tokens_, learned_); }

 private:
    const text::Tokenizer* tokenizer_;
    std::vector<std::uint32_t> tokens_;
    std::vector<std::uint8_t> learned_;
};

// As when the model is asked: a plain text is letters with what the tokenizer puts around one.
constexpr text::EncodeOptions kPlain{.add_special = true, .match_special = false};
constexpr text::EncodeOptions kRest{.add_special = false, .match_special = false};
constexpr text::EncodeOptions kRendered{.add_special = false, .match_special = true};

/// A message whose content is a list of text parts, with the text itself instead.
Result<Value> plain_message(const Value& message) {
    const text::Dict* fields = message.dict();
    if (fields == nullptr) return invalid("a message is an object");
    const Value* role = fields->find("role");
    if (role == nullptr || role->text() == nullptr) return invalid("a message has a role");
    const Value* content = fields->find("content");
    if (content == nullptr || content->list() == nullptr) return message;
    std::string joined;
    for (const Value& part : *content->list()) {
        const Value* words = part.find("text");
        if (words == nullptr || words->text() == nullptr)
            return invalid("a part of a message's content is not text");
        joined += *words->text();
    }
    text::Dict out = *fields;
    out.set("content", Value(std::move(joined)));
    return Value::make_dict(std::move(out));
}

/// The messages of one conversation before and with what the assistant says.
class Conversation {
 public:
    Conversation(const FolderWords& words, text::List messages, Value tools)
        : words_(words), messages_(std::move(messages)), tools_(std::move(tools)) {}

    [[nodiscard]] std::size_t size() const noexcept { return messages_.size(); }
    [[nodiscard]] bool is_answer(std::size_t index) const {
        return *messages_[index].find("role")->text() == "assistant";
    }
    [[nodiscard]] bool counts(std::size_t index) const {
        const Value* weight = messages_[index].find("weight");
        return weight == nullptr || weight->integer() == nullptr || *weight->integer() != 0;
    }
    /// The text of the first `count` messages, with or without the prompt for an answer.
    [[nodiscard]] Result<std::string> render(std::size_t count, bool prompt) const {
        text::List some(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(count));
        TRY_ASSIGN(Value list, Value::make_list(std::move(some)));
        return words_.render(std::move(list), tools_, prompt);
    }

 private:
    const FolderWords& words_;
    text::List messages_;
    Value tools_;
};

/// Adds the answer at `index`, and before it what the conversation has since `done`, the text so
/// far. False, with nothing changed, when the template does not write them one after another.
Result<bool> add_answer(const Conversation& talk, std::size_t index, std::string& done,
                        Draft& draft) {
    TRY_ASSIGN(const std::string before, talk.render(index, true));
    TRY_ASSIGN(std::string whole, talk.render(index + 1, false));
    if (!before.starts_with(done) || !whole.starts_with(before)) return false;
    TRY(draft.add(std::string_view(before).substr(done.size()), kRendered, false));
    TRY(draft.add(std::string_view(whole).substr(before.size()), kRendered, talk.counts(index)));
    done = std::move(whole);
    return true;
}

Result<void> add_chat(const Value& line, const FolderWords& words, model::ExampleSet& examples) {
    const text::List* given = line.find("messages")->list();
    if (given == nullptr || given->empty()) return invalid("messages are a list of at least one");
    text::List messages;
    for (const Value& message : *given) {
        TRY_ASSIGN(Value plain, plain_message(message));
        messages.push_back(std::move(plain));
    }
    const Value* tools = line.find("tools");
    const Conversation talk(words, std::move(messages), tools == nullptr ? Value() : *tools);
    if (!talk.is_answer(talk.size() - 1)) return invalid("the last message is the assistant's");
    Draft draft(words.tokenizer());
    std::string done;
    bool whole = true;
    for (std::size_t i = 0; i < talk.size() && whole; ++i) {
        if (!talk.is_answer(i)) continue;
        TRY_ASSIGN(whole, add_answer(talk, i, done, draft));
    }
    if (!whole) {
        // Some templates write earlier answers shorter than the last: it alone is learned.
        draft = Draft(words.tokenizer());
        done.clear();
        TRY_ASSIGN(whole, add_answer(talk, talk.size() - 1, done, draft));
    }
    if (!whole) return invalid("the chat template does not write an answer after its prompt");
    draft.give(examples);
    return {};
}

const std::string* text_of(const Value& line, std::string_view name) {
    const Value* value = line.find(name);
    return value == nullptr ? nullptr : value->text();
}

Result<void> numbered(std::uint64_t number, const Result<void>& added) {
    if (added) return {};
    const ErrorCode code = added.error().code() == ErrorCode::unsupported ? ErrorCode::unsupported
                                                                          : ErrorCode::data_invalid;
    return fail(code, fmt::format("line {}: {}", number, added.error().detail()));
}

}  // namespace

Result<void> add_example(std::string_view line, const FolderWords& words,
                         model::ExampleSet& examples) {
    TRY_ASSIGN(const Value value, text::parse_json(line, text::limits::kMessageNodes));
    if (value.dict() == nullptr) return invalid("a line is one object");
    if (value.find("messages") != nullptr) return add_chat(value, words, examples);
    Draft draft(words.tokenizer());
    if (value.find("prompt") != nullptr || value.find("completion") != nullptr) {
        const std::string* prompt = text_of(value, "prompt");
        const std::string* completion = text_of(value, "completion");
        if (prompt == nullptr || completion == nullptr)
            return invalid("prompt and completion are both strings");
        TRY(draft.add(*prompt, kPlain, false));
        TRY(draft.add(*completion, kRest, true));
    } else {
        const std::string* plain = text_of(value, "text");
        if (plain == nullptr)
            return invalid("a line has \"messages\", \"prompt\" and \"completion\", or \"text\"");
        TRY(draft.add(*plain, kPlain, true));
    }
    draft.add_end(words.config());
    draft.give(examples);
    return {};
}

Result<model::ExampleSet> read_examples(const std::filesystem::path& file, const FolderWords& words,
                                        std::uint32_t context) {
    TRY_ASSIGN(const auto mapped, model::MappedFile::open(file));
    const std::string_view all = ledger::base::as_text(mapped.bytes());
    model::ExampleSet examples(context);
    std::uint64_t number = 0;
    for (std::size_t begin = 0; begin < all.size();) {
        ++number;
        // No further than a line may reach: what lies behind is not read for it.
        const std::string_view window = all.substr(begin, kExampleBytesMax + 1);
        std::size_t size = window.find('\n');
        if (size == window.npos && window.size() > kExampleBytesMax)
            return invalid(
                fmt::format("line {} is longer than {} bytes", number, kExampleBytesMax));
        size = std::min(size, window.size());
        std::string_view line = window.substr(0, size);
        begin += size + 1;
        if (line.find_first_not_of(" \t\r") == line.npos) continue;
        TRY(numbered(number, add_example(line, words, examples)));
    }
    if (examples.size() == 0)
        return invalid(
            fmt::format("the file has no example to learn from ({} were cut off before "
                        "what they teach)",
                        examples.report().dropped));
    return examples;
}

}  // namespace worker::executor
