// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/domain/job.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/wire/worker_json.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What was signed about a job's work, as a file that anybody can check without the market.
namespace marketplace::wire {

inline constexpr std::size_t kEvidenceBytesMax = std::size_t{256} << 20U;

/// A lease by the orders that its id is made of, and its receipts from the first on.
struct LeaseEvidence {
    ledger::eth::Ask ask;
    ledger::eth::Bid bid;
    std::uint64_t index = 0;
    domain::Resource resource;  ///< of the ask; names the worker that signs
    Address voucher_signer;     ///< signed by nobody: the chain knows whether it is right
    std::vector<SignedReceipt> receipts;

    [[nodiscard]] Hash32 id() const;
    [[nodiscard]] LeaseParties parties() const;
    friend bool operator==(const LeaseEvidence&, const LeaseEvidence&) = default;
};

struct JobEvidence {
    ledger::eth::Domain domain;  ///< of the receipts: the chain and its Leases contract
    domain::JobId job;
    std::string spec;  ///< canonical, hashed by every bid
    std::vector<LeaseEvidence> leases;
    friend bool operator==(const JobEvidence&, const JobEvidence&) = default;
};

/// JSON lines: the job, then each lease with its receipts behind it.
[[nodiscard]] std::string to_text(const JobEvidence& evidence);

/// Reads such a text and holds everything against everything: the spec is what the bids signed, the
/// machine what the asks signed, each lease's id that of its orders, and its receipts are numbered
/// without a gap, name the one before and are signed by the machine's worker. audit_failed says
/// what is not so; invalid_encoding, too_large and the codecs' own errors for other texts. Receipts
/// that are left out at the end are not noticed.
[[nodiscard]] ledger::base::Result<JobEvidence> parse_job_evidence(std::string_view text);

}  // namespace marketplace::wire
