// SPDX-License-Identifier: Apache-2.0
#include "marketplace/domain/command.hpp"

#include <variant>

namespace marketplace::domain {
namespace {

using Hashes = std::vector<Hash32>;

void add(Hashes& out, const PostAsk& command) {
    out.push_back(struct_hash(command.ask));
}
void add(Hashes& out, const PostJob& command) {
    for (const BidLeg& leg : command.legs)
        out.push_back(struct_hash(leg.bid));
}
void add(Hashes& out, const AmendAsk& command) {
    add(out, command.replacement);
}
void add(Hashes& out, const AmendJob& command) {
    add(out, command.replacement);
}
void add(Hashes& out, const SubmitReceipt& command) {
    out.push_back(struct_hash(command.receipt));
}
template <typename Other>
void add(Hashes&, const Other&) {}

}  // namespace

MessageHashes::MessageHashes(const Command& command) {
    std::visit([this](const auto& alternative) { add(hashes_, alternative); }, command);
}

}  // namespace marketplace::domain
