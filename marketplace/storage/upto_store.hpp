// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/domain/resource.hpp"
#include "marketplace/storage/database.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace marketplace::storage {

/// How far a payment up to an amount is.
enum class UptoState : std::uint8_t {
    kServing = 0,  ///< its call is under way
    kTaking = 1,   ///< served, and the answer is held back until it is taken
    kOwed = 2,     ///< served and answered; to be taken as long as it is valid
    kPaid = 3,
    kFree = 4,  ///< nothing is taken: the call cost nothing, or was not answered
    kLost = 5,  ///< answered, and the chain did not let it be taken while it was valid
};

struct UptoRow {
    domain::Hash32 name;  ///< of what may be used once: payer and nonce
    domain::Address payer;
    std::uint64_t deadline_s = 0;
    UptoState state = UptoState::kServing;
    std::uint64_t atoms = 0;                      ///< what is taken
    domain::Address proxy;                        ///< where `call` goes
    domain::Bytes call;                           ///< takes it; empty while its price is not known
    std::optional<domain::Hash32> transaction{};  ///< that took it; `find` alone fills it in
};

/// The rows of payments up to an amount. Writing needs the caller's transaction; same thread rule
/// as its database.
class UptoStore {
 public:
    /// What settlement_items call them.
    static constexpr const char* kItem = "upto";

    explicit UptoStore(Database& database) : database_(database) {}

    /// exists_with_different_body when the name is known: it serves no second call.
    [[nodiscard]] ledger::base::Result<void> insert(const UptoRow& row);
    /// Its state, atoms and call. not_found.
    [[nodiscard]] ledger::base::Result<void> update(const UptoRow& row);
    /// Those whose transaction is final and succeeded are paid.
    [[nodiscard]] ledger::base::Result<void> mark_paid();
    /// After a fall of the market: those whose answers nobody got, unless their transaction exists.
    [[nodiscard]] ledger::base::Result<void> free_unanswered();
    /// Forgets settled ones whose deadline was before.
    [[nodiscard]] ledger::base::Result<void> forget_before(std::uint64_t deadline_s);

    [[nodiscard]] ledger::base::Result<std::optional<UptoRow>> find(const domain::Hash32& name);
    /// To be taken, or on their way into a final block.
    [[nodiscard]] ledger::base::Result<std::vector<UptoRow>> unsettled();
    [[nodiscard]] ledger::base::Result<std::uint64_t> count_lost(const domain::Address& payer);

 private:
    Database& database_;
};

}  // namespace marketplace::storage
