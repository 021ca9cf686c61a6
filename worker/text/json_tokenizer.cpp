// SPDX-License-Identifier: Apache-2.0
#include "worker/text/added_tokens.hpp"
#include "worker/text/bpe.hpp"
#include "worker/text/fields.hpp"
#include "worker/text/json_events.hpp"
#include "worker/text/limits.hpp"
#include "worker/text/normalizer.hpp"
#include "worker/text/post_processor.hpp"
#include "worker/text/pre_tokenizer.hpp"
#include "worker/text/tokenizer_kind.hpp"
#include "worker/text/utf8.hpp"

#include <fmt/format.h>

#include <set>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

/// Takes the vocabulary and the merges out of the document as they pass: a tree of them would be
/// many times their size.
class FileReader final : public TreeBuilder {
 public:
    FileReader() : TreeBuilder(limits::kJsonNodes) {}

    Done scalar(Value value) override {
        if (part_ == Part::kVocabulary) {
            if (value.integer() == nullptr)
                return fail(ErrorCode::data_invalid, "a token's id must be an integer");
            return vocabulary.add(std::move(token_), *value.integer());
        }
        if (part_ == Part::kMerges || part_ == Part::kPair) {
            if (value.text() == nullptr) return bad_merge();
            return part_ == Part::kPair ? half(*value.text()) : pair(*value.text());
        }
        return TreeBuilder::scalar(std::move(value));
    }
    Done open(bool is_dict) override {
        if (part_ == Part::kVocabulary || part_ == Part::kPair)
            return fail(ErrorCode::data_invalid, "the vocabulary or the merges nest too deep");
        if (part_ == Part::kMerges) {
            if (is_dict) return bad_merge();
            part_ = Part::kPair;
            return {};
        }
        if (level() == 2 && key_at(0) == "model") {
            if (key_at(1) == "vocab" && is_dict) part_ = Part::kVocabulary;
            if (key_at(1) == "merges" && !is_dict) part_ = Part::kMerges;
            if (part_ != Part::kTree) return {};
        }
        return TreeBuilder::open(is_dict);
    }
    Done key(std::string name) override {
        if (part_ != Part::kVocabulary) return TreeBuilder::key(std::move(name));
        token_ = std::move(name);
        return {};
    }
    Done close() override {
        if (part_ == Part::kPair) {
            part_ = Part::kMerges;
            if (halves_.size() != 2) return bad_merge();
            merges.emplace_back(std::move(halves_[0]), std::move(halves_[1]));
            halves_.clear();
            return {};
        }
        if (part_ == Part::kTree) return TreeBuilder::close();
        part_ = Part::kTree;
        return TreeBuilder::scalar(Value(true));  // the member stands in the tree as "was there"
    }

    Vocabulary vocabulary;
    Merges merges;

 private:
    enum class Part : std::uint8_t { kTree, kVocabulary, kMerges, kPair };

    static Done bad_merge() {
        return fail(ErrorCode::data_invalid, "a merge must be \"a b\" or [\"a\", \"b\"]");
    }
    [[nodiscard]] Done room() const {
        if (merges.size() < limits::kMerges) return {};
        return fail(ErrorCode::job_limit, fmt::format("more than {} merges", limits::kMerges));
    }
    Done pair(const std::string& text) {
        TRY(room());
        const std::size_t space = text.find(' ');
        if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
            return bad_merge();
        merges.emplace_back(text.substr(0, space), text.substr(space + 1));
        return {};
    }
    Done half(const std::string& text) {
        TRY(room());
        if (halves_.size() == 2) return bad_merge();
        halves_.push_back(text);
        return {};
    }

    Part part_ = Part::kTree;
    std::string token_;
    std::vector<std::string> halves_;
};

class JsonKind final : public Tokenizer::Kind {
 public:
    Result<void> load(std::string_view file);

    Result<std::vector<std::uint32_t>> encode(std::string_view text,
                                              const EncodeOptions& options) const override;
    const Decoder& decoder() const noexcept override { return decoder_; }
    std::optional<std::string> piece_of(std::uint32_t id) const override {
        if (const auto added = added_.find(id); added != added_.end()) return added->second.content;
        const std::string* token = bpe_->vocabulary().token(id);
        if (token == nullptr) return std::nullopt;
        return *token;
    }
    std::size_t vocabulary_size() const noexcept override { return size_; }
    std::optional<std::uint32_t> id_of(std::string_view token) const override {
        if (const auto found = added_ids_.find(token); found != added_ids_.end())
            return found->second;
        return bpe_->vocabulary().find(token);
    }
    std::string token_of(std::uint32_t id) const override { return piece_of(id).value_or(""); }
    bool is_special(std::uint32_t id) const override {
        const auto found = added_.find(id);
        return found != added_.end() && found->second.special;
    }

 private:
    [[nodiscard]] Result<void> load_model(const Value& model, FileReader& file);
    [[nodiscard]] Result<void> load_added(const Value* list);
    [[nodiscard]] Result<AddedToken> read_added(const Value& item) const;
    [[nodiscard]] Result<void> encode_stretch(std::string_view text, bool at_start,
                                              const EncodeOptions& options, RegexScratch& scratch,
                                              Bpe::Session& session,
                                              std::vector<std::uint32_t>& out) const;

    std::shared_ptr<const Bpe> bpe_;
    std::unordered_map<std::uint32_t, AddedToken> added_;
    std::unordered_map<std::string, std::uint32_t, TextHash, std::equal_to<>> added_ids_;
    TokenMatcher raw_;         // looked for in the text as it came
    TokenMatcher normalized_;  // looked for behind the normalizer
    Normalizer normalizer_;
    PreTokenizer pre_tokenizer_;
    PostProcessor post_processor_;
    Decoder decoder_;
    std::size_t size_ = 0;
};

Result<void> JsonKind::load_model(const Value& model, FileReader& file) {
    // Files of before 2021 name no type: a model with merges is a BPE.
    TRY_ASSIGN(const std::string type,
               text_field_or(model, "type", model.find("merges") != nullptr ? "BPE" : "unnamed"));
    if (type != "BPE") return unsupported_part("model", type);
    if (model.find("vocab") == nullptr || model.find("merges") == nullptr)
        return fail(ErrorCode::data_invalid, "the model has no vocab or no merges");
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        TRY_ASSIGN(const std::string text, text_field_or(model, affix, ""));
        if (!text.empty()) return unsupported_part("model's field", affix);
    }
    const Value* dropout = model.find("dropout");
    const bool drops = dropout != nullptr && !dropout->is(Value::Kind::kNull) &&
                       !(dropout->number() != nullptr && *dropout->number() == 0.0) &&
                       !(dropout->integer() != nullptr && *dropout->integer() == 0);
    if (drops) return unsupported_part("model's field", "dropout");
    BpeOptions options;
    TRY_ASSIGN(options.byte_fallback, flag_field(model, "byte_fallback", false));
    TRY_ASSIGN(options.ignore_merges, flag_field(model, "ignore_merges", false));
    TRY_ASSIGN(options.fuse_unk, flag_field(model, "fuse_unk", false));
    TRY_ASSIGN(const std::string unk, text_field_or(model, "unk_token", ""));
    if (!unk.empty()) options.unk_token = unk;
    TRY_ASSIGN(bpe_, Bpe::make(std::move(file.vocabulary), file.merges, options));
    return {};
}

Result<AddedToken> JsonKind::read_added(const Value& item) const {
    AddedToken token;
    TRY_ASSIGN(const std::size_t id, count_field(item, "id", limits::kVocabulary - 1));
    token.id = static_cast<std::uint32_t>(id);
    TRY_ASSIGN(token.content, text_field(item, "content"));
    if (token.content.empty() || token.content.size() > limits::kAddedTokenBytes)
        return fail(ErrorCode::job_limit, fmt::format("the added token {} is not of 1 to {} bytes",
                                                      id, limits::kAddedTokenBytes));
    TRY_ASSIGN(token.special, flag_field(item, "special", false));
    TRY_ASSIGN(token.single_word, flag_field(item, "single_word", false));
    TRY_ASSIGN(token.lstrip, flag_field(item, "lstrip", false));
    TRY_ASSIGN(token.rstrip, flag_field(item, "rstrip", false));
    TRY_ASSIGN(token.normalized, flag_field(item, "normalized", !token.special));
    const auto model_id = bpe_->vocabulary().find(token.content);
    const std::string* model_token = bpe_->vocabulary().token(token.id);
    if ((model_id && *model_id != token.id) || (model_token && *model_token != token.content))
        return fail(ErrorCode::data_invalid,
                    fmt::format("the added token {} contradicts the vocabulary", id));
    return token;
}

Result<void> JsonKind::load_added(const Value* list) {
    if (list == nullptr || list->is(Value::Kind::kNull)) return {};
    if (list->list() == nullptr) return fail(ErrorCode::data_invalid, "added_tokens is no list");
    if (list->list()->size() > limits::kAddedTokens)
        return fail(ErrorCode::job_limit,
                    fmt::format("more than {} added tokens", limits::kAddedTokens));
    RegexScratch scratch;
    for (const Value& item : *list->list()) {
        TRY_ASSIGN(AddedToken token, read_added(item));
        if (!added_ids_.try_emplace(token.content, token.id).second ||
            !added_.try_emplace(token.id, token).second)
            return fail(ErrorCode::data_invalid,
                        fmt::format("the added token {} is repeated", token.id));
        size_ = std::max(size_, std::size_t{token.id} + 1);
        if (token.normalized) {
            TRY_ASSIGN(token.content, normalizer_.apply(std::move(token.content), scratch));
            if (token.content.size() > 4 * limits::kAddedTokenBytes)
                return fail(ErrorCode::job_limit, "an added token grows too long when normalized");
            normalized_.add(token);
        } else {
            raw_.add(token);
        }
    }
    return {};
}

Result<void> JsonKind::load(std::string_view file) {
    if (file.size() > limits::kFileBytes)
        return fail(ErrorCode::job_limit,
                    fmt::format("the tokenizer file is longer than {} bytes", limits::kFileBytes));
    FileReader reader;
    TRY(run_json(file, reader));
    const Value root = reader.take();
    const Value* model = root.find("model");
    if (model == nullptr || model->dict() == nullptr)
        return fail(ErrorCode::data_invalid, "the tokenizer file has no model");
    TRY(load_model(*model, reader));
    size_ = bpe_->vocabulary().size();
    TRY_ASSIGN(normalizer_, Normalizer::parse(root.find("normalizer")));
    TRY_ASSIGN(pre_tokenizer_, PreTokenizer::parse(root.find("pre_tokenizer")));
    TRY_ASSIGN(post_processor_, PostProcessor::parse(root.find("post_processor")));
    TRY_ASSIGN(decoder_, Decoder::parse(root.find("decoder")));
    return load_added(root.find("added_tokens"));
}

Result<void> JsonKind::encode_stretch(std::string_view text, bool at_start,
                                      const EncodeOptions& options, RegexScratch& scratch,
                                      Bpe::Session& session,
                                      std::vector<std::uint32_t>& out) const {
    TRY_ASSIGN(const std::string normal, normalizer_.apply(std::string(text), scratch));
    for (const Segment& segment : normalized_.split(normal, options.match_special)) {
        if (segment.id) {
            out.push_back(*segment.id);
            continue;
        }
        TRY_ASSIGN(const Words words,
                   pre_tokenizer_.apply(normal.substr(segment.begin, segment.end - segment.begin),
                                        at_start && segment.begin == 0, scratch));
        for (const Range& word : words.ranges)
            session.encode(std::string_view(words.text).substr(word.begin, word.end - word.begin),
                           out);
    }
    return {};
}

Result<std::vector<std::uint32_t>> JsonKind::encode(std::string_view text,
                                                    const EncodeOptions& options) const {
    std::string repaired;
    if (!is_utf8(text)) {
        repaired = to_utf8(text);
        text = repaired;
    }
    RegexScratch scratch;
    Bpe::Session session(*bpe_);
    std::vector<std::uint32_t> out;
    if (options.add_special) out = post_processor_.before();
    for (const Segment& segment : raw_.split(text, options.match_special)) {
        if (segment.id)
            out.push_back(*segment.id);
        else
            TRY(encode_stretch(text.substr(segment.begin, segment.end - segment.begin),
                               segment.begin == 0, options, scratch, session, out));
    }
    if (options.add_special)
        out.insert(out.end(), post_processor_.after().begin(), post_processor_.after().end());
    return out;
}

}  // namespace

Result<Tokenizer> Tokenizer::from_json(std::string_view file) {
    auto kind = std::make_shared<JsonKind>();
    TRY(kind->load(file));
    return Tokenizer(std::move(kind));
}

}  // namespace worker::text
