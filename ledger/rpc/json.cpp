// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/json.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/money.hpp"

#include <cmath>
#include <vector>

namespace ledger::rpc {

using base::ErrorCode;
using base::fail;
using base::Result;
using nlohmann::json;

namespace {

/// Builds the tree while checking bounds, so that no tree beyond them ever exists.
class BoundedBuilder final : public nlohmann::json_sax<json> {
 public:
    explicit BoundedBuilder(const JsonLimits& limits) : limits_(limits) {}

    bool null() override { return place(json(nullptr)) != nullptr; }
    bool boolean(bool value) override { return place(json(value)) != nullptr; }
    bool number_integer(number_integer_t value) override { return place(json(value)) != nullptr; }
    bool number_unsigned(number_unsigned_t value) override { return place(json(value)) != nullptr; }
    bool number_float(number_float_t value, const string_t& text) override {
        if (!std::isfinite(value)) return refuse("a number is not finite");
        if (text.find_first_of(".eE") == string_t::npos)
            return refuse("an integer is beyond 64 bits");
        return place(json(value)) != nullptr;
    }
    bool string(string_t& value) override { return place(json(std::move(value))) != nullptr; }
    bool binary(binary_t&) override { return refuse("binary"); }

    bool start_object(std::size_t) override { return open(json::object()); }
    bool key(string_t& name) override {
        auto& object = stack_.back()->get_ref<json::object_t&>();
        if (object.size() >= limits_.keys)
            return refuse("an object has more than " + std::to_string(limits_.keys) + " keys");
        const auto [member, added] = object.try_emplace(std::move(name));
        if (!added) return refuse("a key comes twice in an object");
        next_member_ = &member->second;
        return true;
    }
    bool end_object() override { return close(); }
    bool start_array(std::size_t) override { return open(json::array()); }
    bool end_array() override { return close(); }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::detail::exception&) override {
        return refuse("not JSON at byte " + std::to_string(position));
    }

    [[nodiscard]] const std::string& why() const noexcept { return why_; }
    [[nodiscard]] json take() { return std::move(root_); }

 private:
    bool refuse(std::string why) {
        if (why_.empty()) why_ = std::move(why);
        return false;
    }
    json* place(json value) {
        if (stack_.empty()) {
            root_ = std::move(value);
            return &root_;
        }
        json& parent = *stack_.back();
        if (parent.is_array()) {
            parent.get_ref<json::array_t&>().push_back(std::move(value));
            return &parent.back();
        }
        MR_CHECK(next_member_ != nullptr);
        *next_member_ = std::move(value);
        return std::exchange(next_member_, nullptr);
    }
    bool open(json container) {
        if (stack_.size() >= limits_.depth)
            return refuse("nested deeper than " + std::to_string(limits_.depth) + " levels");
        stack_.push_back(place(std::move(container)));
        return true;
    }
    bool close() {
        stack_.pop_back();
        return true;
    }

    const JsonLimits& limits_;
    json root_;
    std::vector<json*> stack_;
    json* next_member_ = nullptr;
    std::string why_;
};

}  // namespace

Result<json> parse_json(std::string_view text, const JsonLimits& limits) {
    if (text.size() > limits.bytes)
        return fail(ErrorCode::too_large,
                    "the limit is " + std::to_string(limits.bytes) + " bytes of JSON");
    BoundedBuilder builder(limits);
    if (!json::sax_parse(text, &builder, json::input_format_t::json, true))
        return fail(ErrorCode::invalid_json,
                    builder.why().empty() ? std::string("not JSON") : builder.why());
    return builder.take();
}

std::string to_text(const json& document) {
    return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<const json*> member_at(const json& object, std::string_view name) {
    if (!object.is_object()) return fail(ErrorCode::invalid_field, "expected a JSON object");
    const auto found = object.find(name);
    if (found == object.end()) return fail(ErrorCode::missing_field, std::string(name));
    return &*found;
}

namespace {

tl::unexpected<base::Error> wrong_type(std::string_view name, std::string_view expected) {
    return fail(ErrorCode::invalid_field,
                std::string(name) + ": expected " + std::string(expected));
}

}  // namespace

Result<std::string> string_at(const json& object, std::string_view name) {
    TRY_ASSIGN(const json* member, member_at(object, name));
    if (!member->is_string()) return wrong_type(name, "a string");
    return member->get_ref<const std::string&>();
}

Result<std::uint64_t> u64_text_at(const json& object, std::string_view name) {
    TRY_ASSIGN(const json* member, member_at(object, name));
    if (!member->is_string()) return wrong_type(name, "a decimal string");
    const auto value = base::parse_u64(member->get_ref<const std::string&>());
    if (!value) return wrong_type(name, "a decimal string of at most 64 bits");
    return *value;
}

Result<std::uint64_t> integer_at(const json& object, std::string_view name) {
    TRY_ASSIGN(const json* member, member_at(object, name));
    if (!member->is_number_unsigned()) return wrong_type(name, "an integer, 0 or above");
    return member->get<std::uint64_t>();
}

Result<bool> boolean_at(const json& object, std::string_view name) {
    TRY_ASSIGN(const json* member, member_at(object, name));
    if (!member->is_boolean()) return wrong_type(name, "true or false");
    return member->get<bool>();
}

}  // namespace ledger::rpc
