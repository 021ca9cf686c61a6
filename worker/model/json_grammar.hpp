// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace worker::model {

/// A JSON schema as rules for the next byte. Immutable.
///
/// Understood: "type" (a name or a list of names), "properties" (1 to 64), "required",
/// "additionalProperties", "items", "minItems", "maxItems", "enum" and "const" of scalars (at most
/// 64), and notes (title, description, default, examples, $schema, $id). Named properties come in
/// any order, each at most once, and no others beside them. A schema without "type" takes any
/// value. Strings have no limits; texts nest at most 32 deep, and a number has at most 16 digits in
/// a row and two of its exponent.
class JsonGrammar {
 public:
    static constexpr std::size_t kDepthMax = 32;

    /// unsupported names a keyword that is not understood; invalid_field, job_limit.
    [[nodiscard]] static ledger::base::Result<std::shared_ptr<const JsonGrammar>> parse(
        std::string_view schema);

    struct Property {
        std::string name;  // as it is written between the quotes
        std::uint16_t node = 0;
    };
    struct Node {
        std::uint8_t types = 0;  // bits of Type
        std::vector<Property> properties;
        std::uint64_t required = 0;    // bits by property
        std::uint16_t additional = 0;  // values of other keys, where none are named
        std::uint16_t items = 0;
        std::uint32_t items_min = 0;
        std::uint32_t items_max = UINT32_MAX;
        std::vector<std::string> literals;  // an enum's values, as JSON; types does not count then
    };
    enum Type : std::uint8_t {
        kObject = 1,
        kArray = 2,
        kString = 4,
        kNumber = 8,
        kInteger = 16,
        kBoolean = 32,
        kNull = 64,
    };
    [[nodiscard]] const Node& node(std::uint16_t number) const noexcept { return nodes_[number]; }

 private:
    friend class SchemaParser;
    std::vector<Node> nodes_;  // 0: any value; 1: the text's
};

/// How far a text has come. A value: copies are cheap.
class JsonState {
 public:
    explicit JsonState(const JsonGrammar& grammar);
    /// Takes the next byte; false when no text goes on like this (the state is then of no use).
    [[nodiscard]] bool advance(std::uint8_t byte);
    [[nodiscard]] bool advance(std::string_view bytes);
    /// The text is a whole value that nothing but space can follow.
    [[nodiscard]] bool closed() const noexcept { return depth_ == 0; }
    /// The text is a whole value, that may still grow (a number).
    [[nodiscard]] bool complete() const noexcept;
    /// Equal for states with the same future.
    [[nodiscard]] std::string key() const;
    /// Copies no more than is in use.
    void copy_to(JsonState& out) const;

 private:
    enum class Kind : std::uint8_t { kValue, kObject, kArray, kText, kNumber, kLiteral };
    struct Frame {
        Kind kind = Kind::kValue;
        std::uint8_t step = 0;
        std::uint16_t node = 0;
        std::uint32_t count = 0;    // items so far, or the place in a name or literal
        std::uint64_t left = 0;     // properties not yet given; digits in a row
        std::uint64_t fitting = 0;  // names or literals that begin as the text does
    };
    [[nodiscard]] bool push(Frame frame);
    void pop() { --depth_; }
    [[nodiscard]] Frame& top() noexcept { return frames_[depth_ - 1]; }
    [[nodiscard]] bool space(std::uint8_t byte);
    [[nodiscard]] bool begin_value(Frame& frame, std::uint8_t byte);
    [[nodiscard]] bool in_object(Frame& frame, std::uint8_t byte);
    [[nodiscard]] bool in_name(Frame& frame, std::uint8_t byte);
    [[nodiscard]] bool in_array(Frame& frame, std::uint8_t byte);
    [[nodiscard]] bool in_text(Frame& frame, std::uint8_t byte);
    [[nodiscard]] bool in_literal(Frame& frame, std::uint8_t byte);

    const JsonGrammar* grammar_;
    std::uint8_t depth_ = 0;
    std::uint8_t spaces_ = 0;  // in a row
    std::array<Frame, 2 * JsonGrammar::kDepthMax + 4> frames_{};
};

}  // namespace worker::model
