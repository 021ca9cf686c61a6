// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/domain/job.hpp"
#include "marketplace/domain/resource.hpp"

#include <cstdint>
#include <string>
#include <string_view>

/// The documents that orders sign by hash: canonical JSON (keys sorted bytewise, no whitespace;
/// objects, arrays, strings, integers and booleans only), hashed with SHA-256. Parsers take
/// canonical bytes only: one document has one hash.
namespace marketplace::wire {

/// What the market needs to know of a job spec; the rest is the worker's business.
struct JobSpec {
    domain::JobKind kind = domain::JobKind::kTrain;
    domain::JobTerms terms;
    std::string model_name;             ///< serve: the name it is published under
    std::string arch;                   ///< "gpt" or "cnn"; empty for a folder
    std::uint64_t context = 0;          ///< gpt: longest sequence in tokens
    bool folder = false;                ///< of a published folder, with words of its own
    std::vector<domain::Hash32> blobs;  ///< every blob the spec names
};

[[nodiscard]] domain::Hash32 document_hash(std::string_view canonical);

/// Any JSON text to canonical form. invalid_json; unsupported for null, floating point numbers.
[[nodiscard]] ledger::base::Result<std::string> canonicalise(std::string_view json);

[[nodiscard]] std::string resource_document(const domain::Resource& resource);
[[nodiscard]] ledger::base::Result<domain::Resource> parse_resource(std::string_view canonical);

[[nodiscard]] std::string constraints_document(const domain::Constraints& constraints);
[[nodiscard]] ledger::base::Result<domain::Constraints> parse_constraints(
    std::string_view canonical);

/// job_spec_invalid names the field; job_limit the limit.
[[nodiscard]] ledger::base::Result<JobSpec> parse_job_spec(std::string_view canonical);

}  // namespace marketplace::wire
