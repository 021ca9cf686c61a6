// SPDX-License-Identifier: Apache-2.0
// Runs worker/text over lines of JSON, for a judge in another language.
//   text_lines tokenize FILE   {"text": …, "special": true}  →  {"ids": […], "text": …, "streamed":
//   true} text_lines render          {"template": …, "context": {…}}  →  {"text": …}
// A refusal is {"error": "code: detail"}.
#include "worker/text/chat_template.hpp"
#include "worker/text/json_writer.hpp"
#include "worker/text/tokenizer.hpp"
#include "worker/text/value.hpp"

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using worker::text::ChatTemplate;
using worker::text::Dict;
using worker::text::List;
using worker::text::StreamDecoder;
using worker::text::Tokenizer;
using worker::text::Value;

constexpr std::size_t kAnswerBytesMax = std::size_t{1} << 30;
constexpr std::size_t kNodesMax = std::size_t{1} << 24;

Result<Tokenizer> load(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return fail(ErrorCode::io_error, "the file does not open");
    const std::string file((std::istreambuf_iterator<char>(in)), {});
    return path.ends_with(".model") ? Tokenizer::from_sentencepiece(file)
                                    : Tokenizer::from_json(file);
}

Result<Value> tokenize(const Tokenizer& tokenizer, const Value& line) {
    const Value* text = line.find("text");
    const Value* special = line.find("special");
    if (text == nullptr || text->text() == nullptr)
        return fail(ErrorCode::invalid_field, "text is missing");
    const bool add_special = special != nullptr && special->boolean() && *special->boolean();
    TRY_ASSIGN(const auto ids, tokenizer.encode(*text->text(), {add_special, true}));
    const std::string decoded = tokenizer.decode(ids);
    std::string streamed;
    StreamDecoder stream(tokenizer);
    List list;
    for (const auto id : ids) {
        streamed += stream.push(id);
        list.emplace_back(std::int64_t{id});
    }
    streamed += stream.finish();
    Dict answer;
    TRY_ASSIGN(Value items, Value::make_list(std::move(list)));
    answer.set("ids", std::move(items));
    answer.set("text", Value(decoded));
    answer.set("streamed", Value(streamed == decoded));
    return Value::make_dict(std::move(answer));
}

Result<Value> render(const Value& line) {
    const Value* source = line.find("template");
    const Value* context = line.find("context");
    if (source == nullptr || source->text() == nullptr || context == nullptr)
        return fail(ErrorCode::invalid_field, "template or context is missing");
    TRY_ASSIGN(const ChatTemplate chat, ChatTemplate::parse(*source->text()));
    TRY_ASSIGN(std::string text, chat.render(*context));
    Dict answer;
    answer.set("text", Value(std::move(text)));
    return Value::make_dict(std::move(answer));
}

void print(const Result<Value>& answer) {
    Dict refusal;
    if (!answer)
        refusal.set("error", Value(std::string(to_string(answer.error().code())) + ": " +
                                   answer.error().detail()));
    const auto shown = answer ? *answer : *Value::make_dict(std::move(refusal));
    std::cout << *worker::text::to_json(shown, {}, kAnswerBytesMax) << "\n";
}

int run(const std::string& mode, const std::string& path) {
    std::optional<Tokenizer> tokenizer;
    if (mode == "tokenize") {
        auto loaded = load(path);
        if (!loaded) {
            std::fprintf(stderr, "%s\n", loaded.error().message().c_str());
            return 1;
        }
        tokenizer = *loaded;
    }
    std::string line;
    while (std::getline(std::cin, line)) {
        const auto parsed = worker::text::parse_json(line, kNodesMax);
        if (!parsed)
            print(parsed);
        else
            print(tokenizer ? tokenize(*tokenizer, *parsed) : render(*parsed));
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::ios::sync_with_stdio(false);
    if (argc < 2) return 2;
    return run(argv[1], argc > 2 ? argv[2] : "");
}
