// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/value.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace worker::text {

/// Builds a Value from the events of a JSON document, within limits.
class TreeBuilder {
 public:
    using Done = ledger::base::Result<void>;

    explicit TreeBuilder(std::size_t nodes_max) : nodes_left_(nodes_max) {}
    virtual ~TreeBuilder() = default;
    TreeBuilder(const TreeBuilder&) = delete;
    TreeBuilder& operator=(const TreeBuilder&) = delete;
    TreeBuilder(TreeBuilder&&) = delete;
    TreeBuilder& operator=(TreeBuilder&&) = delete;

    [[nodiscard]] virtual Done scalar(Value value);
    [[nodiscard]] virtual Done open(bool is_dict);
    [[nodiscard]] virtual Done key(std::string name);
    [[nodiscard]] virtual Done close();
    /// The document, once it has ended.
    [[nodiscard]] Value take() { return std::move(root_); }

 protected:
    /// Lists and dicts that are open.
    [[nodiscard]] std::size_t level() const noexcept { return open_.size(); }
    /// The key under which the next value of an open level stands; empty in a list.
    [[nodiscard]] const std::string& key_at(std::size_t index) const { return open_[index].name; }

 private:
    struct Level {
        explicit Level(bool dict) : is_dict(dict) {}
        bool is_dict;
        List items;
        Dict members;
        std::string name;
    };
    [[nodiscard]] Done place(Value value);
    std::size_t nodes_left_;
    std::vector<Level> open_;
    Value root_;
};

/// Feeds the events of `text` to `builder`; the builder's error, or data_invalid when it is no
/// JSON.
[[nodiscard]] ledger::base::Result<void> run_json(std::string_view text, TreeBuilder& builder);

}  // namespace worker::text
