// SPDX-License-Identifier: Apache-2.0
#include "worker/model/json_grammar.hpp"

#include "worker/model/json_reader.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <optional>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kNodesMax = 1024;
constexpr std::size_t kBitsMax = 64;     // properties or literals of a node
constexpr std::uint8_t kSpacesMax = 24;  // in a row, or a model could go on for ever
constexpr std::uint8_t kAnyType = 127;

std::uint64_t all_bits(std::size_t count) {
    return count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
}

/// A string as it is written, without the quotes.
std::string written(const std::string& text) {
    const std::string quoted =
        nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return quoted.substr(1, quoted.size() - 2);
}

std::optional<std::uint8_t> type_named(std::string_view name) {
    constexpr std::array<std::pair<std::string_view, std::uint8_t>, 7> kNames{
        {{"object", JsonGrammar::kObject},
         {"array", JsonGrammar::kArray},
         {"string", JsonGrammar::kString},
         {"number", JsonGrammar::kNumber},
         {"integer", JsonGrammar::kInteger},
         {"boolean", JsonGrammar::kBoolean},
         {"null", JsonGrammar::kNull}}};
    for (const auto& [known, bit] : kNames)
        if (name == known) return bit;
    return std::nullopt;
}

bool is_space(std::uint8_t byte) {
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

bool is_hex(std::uint8_t byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') ||
           (byte >= 'A' && byte <= 'F');
}

bool is_digit(std::uint8_t byte) {
    return byte >= '0' && byte <= '9';
}

}  // namespace

/// Makes nodes of a schema, one after the other, those inside of it later.
class SchemaParser {
 public:
    Result<std::shared_ptr<const JsonGrammar>> parse(std::string_view text) {
        TRY_ASSIGN(const JsonValue root, JsonValue::parse(text, JsonGrammar::kDepthMax));
        grammar_->nodes_.emplace_back().types = kAnyType;
        TRY(later(root));
        while (!todo_.empty()) {
            const auto [number, value] = todo_.front();
            todo_.pop_front();
            JsonGrammar::Node node;
            TRY(read(value, node));
            grammar_->nodes_[number] = std::move(node);
        }
        return std::shared_ptr<const JsonGrammar>(std::move(grammar_));
    }

 private:
    static tl::unexpected<ledger::base::Error> bad(std::string_view what) {
        return fail(ErrorCode::invalid_field, fmt::format("'response_format' schema: {}", what));
    }

    Result<std::uint16_t> later(const JsonValue& value) {
        if (grammar_->nodes_.size() >= kNodesMax)
            return fail(ErrorCode::job_limit, "'response_format' schema has too many parts");
        const auto number = static_cast<std::uint16_t>(grammar_->nodes_.size());
        grammar_->nodes_.emplace_back();
        todo_.emplace_back(number, value);
        return number;
    }

    Result<void> read(const JsonValue& value, JsonGrammar::Node& node) {
        if (!value.is_object()) return bad("each part must be an object");
        node.types = kAnyType;
        for (const auto& [name, part] : value.members())
            TRY(read_keyword(name, part, node));
        if (const auto required = value.member("required")) TRY(read_required(*required, node));
        if (node.items_min > node.items_max) return bad("minItems is above maxItems");
        return {};
    }

    Result<void> read_keyword(const std::string& name, const JsonValue& part,
                              JsonGrammar::Node& node) {
        if (name == "type") return read_types(part, node);
        if (name == "enum") return read_enum(part.items(), node);
        if (name == "const") return read_enum({part}, node);
        if (name == "properties") return read_properties(part, node);
        if (name == "additionalProperties") {
            // Where properties are named no others come, which every schema allows.
            if (part.flag()) return {};
            TRY_ASSIGN(node.additional, later(part));
            return {};
        }
        if (name == "items") {
            TRY_ASSIGN(node.items, later(part));
            return {};
        }
        if (name == "minItems" || name == "maxItems") {
            const auto count = part.number();
            if (!count || *count > UINT32_MAX) return bad(name + " must be a count");
            (name == "minItems" ? node.items_min : node.items_max) =
                static_cast<std::uint32_t>(*count);
            return {};
        }
        for (const std::string_view note : {"required", "title", "description", "default",
                                            "examples", "$schema", "$id", "strict"})
            if (name == note) return {};
        return fail(ErrorCode::unsupported,
                    fmt::format("'response_format' schema uses {}, which is not supported",
                                name.substr(0, 64)));
    }

    static Result<void> read_types(const JsonValue& part, JsonGrammar::Node& node) {
        const auto names = part.is_array() ? part.items() : std::vector<JsonValue>{part};
        node.types = 0;
        for (const JsonValue& name : names) {
            const auto bit = name.text() ? type_named(*name.text()) : std::nullopt;
            if (!bit) return bad("type is not known");
            node.types |= *bit;
        }
        if (node.types == 0) return bad("type is empty");
        return {};
    }

    static Result<void> read_enum(const std::vector<JsonValue>& values, JsonGrammar::Node& node) {
        if (values.empty() || values.size() > kBitsMax) return bad("enum has 1 to 64 values");
        for (const JsonValue& value : values) {
            if (value.text() != nullptr) {
                node.literals.push_back("\"" + written(*value.text()) + "\"");
            } else if (value.flag()) {
                node.literals.emplace_back(*value.flag() ? "true" : "false");
            } else if (value.is_null()) {
                node.literals.emplace_back("null");
            } else if (value.real()) {
                const double number = *value.real();
                const bool whole = std::abs(number) < 1e15 && number == std::floor(number);
                node.literals.push_back(whole ? fmt::format("{:.0f}", number)
                                              : fmt::format("{}", number));
            } else {
                return bad("enum and const hold scalars");
            }
        }
        return {};
    }

    Result<void> read_properties(const JsonValue& part, JsonGrammar::Node& node) {
        const auto members = part.members();
        if (!part.is_object() || members.empty() || members.size() > kBitsMax)
            return bad("properties is an object of 1 to 64");
        for (const auto& [name, value] : members) {
            JsonGrammar::Property property;
            property.name = written(name);
            TRY_ASSIGN(property.node, later(value));
            node.properties.push_back(std::move(property));
        }
        return {};
    }

    static Result<void> read_required(const JsonValue& part, JsonGrammar::Node& node) {
        for (const JsonValue& name : part.items()) {
            const auto found = std::find_if(
                node.properties.begin(), node.properties.end(), [&](const auto& property) {
                    return name.text() != nullptr && property.name == written(*name.text());
                });
            if (found == node.properties.end()) return bad("required names no property");
            node.required |= std::uint64_t{1} << (found - node.properties.begin());
        }
        return {};
    }

    std::shared_ptr<JsonGrammar> grammar_ = std::make_shared<JsonGrammar>();
    std::deque<std::pair<std::uint16_t, JsonValue>> todo_;
};

Result<std::shared_ptr<const JsonGrammar>> JsonGrammar::parse(std::string_view schema) {
    return SchemaParser().parse(schema);
}

// ---- the state ----

namespace {

// Steps of an object and an array.
constexpr std::uint8_t kOpened = 0;    // a first member or the end
constexpr std::uint8_t kNamed = 1;     // a colon
constexpr std::uint8_t kGiven = 2;     // a comma or the end
constexpr std::uint8_t kWanted = 3;    // after a comma: a member
constexpr std::uint8_t kInName = 4;    // one of the names that the schema gives
constexpr std::uint8_t kNameFree = 5;  // any name was written
// Steps of a text.
constexpr std::uint8_t kPlain = 0;
constexpr std::uint8_t kEscape = 1;
constexpr std::uint8_t kHexFirst = 2;      // after \u; 3 digits follow
constexpr std::uint8_t kHexSurrogate = 3;  // after \ud: not the half of a pair
constexpr std::uint8_t kHex2 = 4;
constexpr std::uint8_t kHex3 = 5;
constexpr std::uint8_t kHex4 = 6;
constexpr std::uint8_t kTail1 = 8;  // so many bytes of a character are missing
constexpr std::uint8_t kTail3 = 10;
constexpr std::uint8_t kAfterE0 = 11;
constexpr std::uint8_t kAfterEd = 12;
constexpr std::uint8_t kAfterF0 = 13;
constexpr std::uint8_t kAfterF4 = 14;
// Steps of a number; the even ones may end it.
constexpr std::uint8_t kZero = 0;
constexpr std::uint8_t kMinus = 1;
constexpr std::uint8_t kWhole = 2;
constexpr std::uint8_t kPoint = 3;
constexpr std::uint8_t kFraction = 4;
constexpr std::uint8_t kExponent = 5;
constexpr std::uint8_t kExponentDigits = 6;
constexpr std::uint8_t kExponentSign = 7;

/// The step after a byte; none: the number does not go on like this.
std::optional<std::uint8_t> number_step(std::uint8_t step, std::uint8_t byte, bool whole_only) {
    const bool exponent = !whole_only && (byte == 'e' || byte == 'E');
    switch (step) {
        case kMinus:
            if (byte == '0') return kZero;
            if (is_digit(byte)) return kWhole;
            return std::nullopt;
        case kZero:
        case kWhole:
            if (step == kWhole && is_digit(byte)) return kWhole;
            if (!whole_only && byte == '.') return kPoint;
            if (exponent) return kExponent;
            return std::nullopt;
        case kPoint:
        case kFraction:
            if (is_digit(byte)) return kFraction;
            if (step == kFraction && exponent) return kExponent;
            return std::nullopt;
        case kExponent:
            if (byte == '+' || byte == '-') return kExponentSign;
            [[fallthrough]];
        default:
            if (is_digit(byte)) return kExponentDigits;
            return std::nullopt;
    }
}

/// Digits in a row, so that every reader can hold the number.
std::uint64_t digits_max(std::uint8_t step) {
    return step == kExponentDigits ? 2 : 16;
}

/// The step of a text inside a character of several bytes; none: it is no UTF-8.
std::optional<std::uint8_t> tail_step(std::uint8_t step, std::uint8_t byte) {
    if (byte < 0x80 || byte > 0xBF) return std::nullopt;
    switch (step) {
        case kAfterE0:
            return byte >= 0xA0 ? std::optional(kTail1) : std::nullopt;
        case kAfterEd:
            return byte < 0xA0 ? std::optional(kTail1) : std::nullopt;
        case kAfterF0:
            return byte >= 0x90 ? std::optional<std::uint8_t>(kTail1 + 1) : std::nullopt;
        case kAfterF4:
            return byte < 0x90 ? std::optional<std::uint8_t>(kTail1 + 1) : std::nullopt;
        default:
            return step == kTail1 ? kPlain : static_cast<std::uint8_t>(step - 1);
    }
}

std::optional<std::uint8_t> lead_step(std::uint8_t byte) {
    if (byte < 0x20) return std::nullopt;
    if (byte < 0x80) return kPlain;
    if (byte >= 0xC2 && byte <= 0xDF) return kTail1;
    if (byte == 0xE0) return kAfterE0;
    if (byte == 0xED) return kAfterEd;
    if (byte >= 0xE1 && byte <= 0xEF) return static_cast<std::uint8_t>(kTail1 + 1);
    if (byte == 0xF0) return kAfterF0;
    if (byte >= 0xF1 && byte <= 0xF3) return kTail3;
    if (byte == 0xF4) return kAfterF4;
    return std::nullopt;
}

constexpr std::array<std::string_view, 3> kWords{"true", "false", "null"};

}  // namespace

JsonState::JsonState(const JsonGrammar& grammar) : grammar_(&grammar) {
    Frame first;
    first.node = 1;
    (void)push(first);
}

bool JsonState::push(Frame frame) {
    if (depth_ >= frames_.size()) return false;
    frames_[depth_++] = frame;
    return true;
}

void JsonState::copy_to(JsonState& out) const {
    out.grammar_ = grammar_;
    out.depth_ = depth_;
    out.spaces_ = spaces_;
    std::copy_n(frames_.begin(), depth_, out.frames_.begin());
}

bool JsonState::complete() const noexcept {
    if (depth_ == 0) return true;
    const Frame& last = frames_[depth_ - 1];
    return depth_ == 1 && last.kind == Kind::kNumber && last.step % 2 == 0;
}

std::string JsonState::key() const {
    std::string out(1, static_cast<char>(spaces_));
    for (std::size_t i = 0; i < depth_; ++i) {
        const Frame& f = frames_[i];
        const auto add = [&out](auto value) {
            out.append(reinterpret_cast<const char*>(&value), sizeof(value));
        };
        add(f.kind);
        add(f.step);
        add(f.node);
        // Of an array only matters how far it is from its bounds.
        const auto& node = grammar_->node(f.node);
        const bool bounded = node.items_min > 0 || node.items_max < UINT32_MAX;
        add(f.kind == Kind::kArray && !bounded ? 0U : f.count);
        add(f.left);
        add(f.fitting);
    }
    return out;
}

bool JsonState::space(std::uint8_t byte) {
    if (!is_space(byte)) return false;
    return ++spaces_ <= kSpacesMax;
}

bool JsonState::advance(std::string_view bytes) {
    return std::all_of(bytes.begin(), bytes.end(),
                       [this](char c) { return advance(static_cast<std::uint8_t>(c)); });
}

bool JsonState::advance(std::uint8_t byte) {
    // A number ends with what follows it, which is its parent's.
    if (depth_ > 0 && top().kind == Kind::kNumber) {
        Frame& number = top();
        const auto step = number_step(number.step, byte, number.count == 1);
        if (step) {
            number.left = *step == number.step ? number.left + 1 : 1;
            number.step = *step;
            return number.left <= digits_max(*step);
        }
        if (number.step % 2 != 0) return false;
        pop();
    }
    if (depth_ == 0) return space(byte);
    Frame& frame = top();
    const bool inside = frame.kind == Kind::kText || frame.kind == Kind::kLiteral ||
                        (frame.kind == Kind::kObject && frame.step == kInName);
    if (!inside) {
        if (is_space(byte)) return space(byte);
        spaces_ = 0;
    }
    switch (frame.kind) {
        case Kind::kValue:
            return begin_value(frame, byte);
        case Kind::kObject:
            return frame.step == kInName ? in_name(frame, byte) : in_object(frame, byte);
        case Kind::kArray:
            return in_array(frame, byte);
        case Kind::kText:
            return in_text(frame, byte);
        case Kind::kLiteral:
            return in_literal(frame, byte);
        case Kind::kNumber:
            break;
    }
    return false;
}

/// Turns the frame of an expected value into the one of the value that begins.
bool JsonState::begin_value(Frame& frame, std::uint8_t byte) {
    const JsonGrammar::Node& node = grammar_->node(frame.node);
    Frame next;
    next.node = frame.node;
    if (!node.literals.empty()) {
        next.kind = Kind::kLiteral;
        next.fitting = all_bits(node.literals.size());
        frame = next;
        return in_literal(frame, byte);
    }
    const auto takes = [&](std::uint8_t types) { return (node.types & types) != 0; };
    const std::size_t nested = static_cast<std::size_t>(std::count_if(
        frames_.begin(), frames_.begin() + depth_,
        [](const Frame& f) { return f.kind == Kind::kObject || f.kind == Kind::kArray; }));
    if ((byte == '{' || byte == '[') && nested >= JsonGrammar::kDepthMax) return false;
    if (byte == '{' && takes(JsonGrammar::kObject)) {
        next.kind = Kind::kObject;
        next.left = all_bits(node.properties.size());
    } else if (byte == '[' && takes(JsonGrammar::kArray)) {
        next.kind = Kind::kArray;
    } else if (byte == '"' && takes(JsonGrammar::kString)) {
        next.kind = Kind::kText;
    } else if ((byte == '-' || is_digit(byte)) &&
               takes(JsonGrammar::kNumber | JsonGrammar::kInteger)) {
        next.kind = Kind::kNumber;
        next.count = takes(JsonGrammar::kNumber) ? 0 : 1;  // 1: whole numbers only
        next.step = byte == '-' ? kMinus : byte == '0' ? kZero : kWhole;
    } else {
        // A word: `node` 0 has no literals, and its words are those of JSON.
        next.kind = Kind::kLiteral;
        next.node = 0;
        next.fitting =
            (takes(JsonGrammar::kBoolean) ? 3U : 0U) | (takes(JsonGrammar::kNull) ? 4U : 0U);
        frame = next;
        return in_literal(frame, byte);
    }
    frame = next;
    return true;
}

bool JsonState::in_literal(Frame& frame, std::uint8_t byte) {
    const auto& own = grammar_->node(frame.node).literals;
    const std::size_t count = own.empty() ? kWords.size() : own.size();
    std::uint64_t fitting = 0;
    bool ends = false;
    for (std::size_t i = 0; i < count; ++i) {
        if ((frame.fitting >> i & 1U) == 0) continue;
        const std::string_view text = own.empty() ? kWords[i] : std::string_view(own[i]);
        if (frame.count >= text.size() || static_cast<std::uint8_t>(text[frame.count]) != byte)
            continue;
        fitting |= std::uint64_t{1} << i;
        ends = ends || frame.count + 1 == text.size();
    }
    if (fitting == 0) return false;
    frame.fitting = fitting;
    ++frame.count;
    // Of 1 and 12 the shorter wins: nothing tells them apart before it is too late.
    if (ends) pop();
    return true;
}

bool JsonState::in_object(Frame& frame, std::uint8_t byte) {
    const JsonGrammar::Node& node = grammar_->node(frame.node);
    const bool free = node.properties.empty();
    if (frame.step == kNamed || frame.step == kNameFree) {
        if (byte != ':') return false;
        Frame value;
        // Of the names that fit exactly one is left.
        value.node = node.additional;
        for (std::size_t i = 0; frame.step == kNamed && i < node.properties.size(); ++i)
            if ((frame.fitting >> i & 1U) != 0) value.node = node.properties[i].node;
        frame.step = kGiven;
        frame.fitting = 0;
        return push(value);
    }
    if (byte == '}' && frame.step != kWanted) {
        if ((node.required & frame.left) != 0) return false;
        pop();
        return true;
    }
    if (frame.step == kGiven) {
        if (byte != ',' || (!free && frame.left == 0)) return false;
        frame.step = kWanted;
        return true;
    }
    if (byte != '"') return false;
    if (free) {
        frame.step = kNameFree;
        Frame name;
        name.kind = Kind::kText;
        return push(name);
    }
    if (frame.left == 0) return false;
    frame.step = kInName;
    frame.count = 0;
    frame.fitting = frame.left;
    return true;
}

bool JsonState::in_name(Frame& frame, std::uint8_t byte) {
    const auto& properties = grammar_->node(frame.node).properties;
    std::uint64_t fitting = 0;
    for (std::size_t i = 0; i < properties.size(); ++i) {
        if ((frame.fitting >> i & 1U) == 0) continue;
        const std::string& name = properties[i].name;
        const bool ended = frame.count == name.size();
        const bool fits = ended ? byte == '"'
                                : frame.count < name.size() &&
                                      static_cast<std::uint8_t>(name[frame.count]) == byte;
        // A quote inside a name is written after a backslash, so the end is the end.
        if (fits) fitting |= std::uint64_t{1} << i;
        if (fits && ended) {
            frame.left &= ~(std::uint64_t{1} << i);
            frame.fitting = std::uint64_t{1} << i;
            frame.count = 0;
            frame.step = kNamed;
            return true;
        }
    }
    frame.fitting = fitting;
    ++frame.count;
    return fitting != 0;
}

bool JsonState::in_array(Frame& frame, std::uint8_t byte) {
    const JsonGrammar::Node& node = grammar_->node(frame.node);
    if (byte == ']' && frame.step != kWanted) {
        if (frame.count < node.items_min) return false;
        pop();
        return true;
    }
    if (frame.count >= node.items_max) return false;
    Frame value;
    value.node = node.items;
    if (frame.step == kGiven) {
        if (byte != ',') return false;
        frame.step = kWanted;
        return true;
    }
    ++frame.count;
    frame.step = kGiven;
    return push(value) && begin_value(top(), byte);
}

bool JsonState::in_text(Frame& frame, std::uint8_t byte) {
    std::uint8_t& step = frame.step;
    if (step >= kTail1) {
        const auto next = tail_step(step, byte);
        if (next) step = *next;
        return next.has_value();
    }
    switch (step) {
        case kPlain: {
            if (byte == '"') {
                pop();
                return true;
            }
            if (byte == '\\') {
                step = kEscape;
                return true;
            }
            const auto next = lead_step(byte);
            if (next) step = *next;
            return next.has_value();
        }
        case kEscape:
            if (byte == 'u') {
                step = kHexFirst;
                return true;
            }
            step = kPlain;
            return std::string_view("\"\\/bfnrt").find(static_cast<char>(byte)) !=
                   std::string_view::npos;
        case kHexFirst:
            step = byte == 'd' || byte == 'D' ? kHexSurrogate : kHex2;
            return is_hex(byte);
        case kHexSurrogate:
            step = kHex3;
            return byte >= '0' && byte <= '7';
        default:
            step = step == kHex4 ? kPlain : static_cast<std::uint8_t>(step + 1);
            return is_hex(byte);
    }
}

}  // namespace worker::model
