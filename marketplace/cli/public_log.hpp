// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/log_source.hpp"
#include "marketplace/cli/context.hpp"
#include "marketplace/engine/journal.hpp"

#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace marketplace::cli {

/// The public log's records in order, from a file of JSON lines or from the market.
class RecordReader {
 public:
    virtual ~RecordReader() = default;
    /// The next record's bytes; empty at the end. invalid_encoding: a line that is none.
    [[nodiscard]] virtual Result<std::optional<ledger::base::Bytes>> next() = 0;
};

/// `where`: a file written by `millrace log fetch`; http://… for another market; empty: the market.
[[nodiscard]] Result<std::unique_ptr<RecordReader>> open_log(Context& context,
                                                             const std::string& where);

/// Hands a market's log to the audit: decodes records and checks their chain of hashes.
class JournalSource final : public ledger::audit::LogSource {
 public:
    explicit JournalSource(RecordReader& reader) : reader_(reader) {}
    [[nodiscard]] Result<std::optional<ledger::audit::LogRecord>> next() override;

 private:
    RecordReader& reader_;
    std::uint64_t sequence_ = 0;
    Hash32 previous_;
};

/// One line of the log's text form: {"sequence":N,"hash":"0x…","record":"0x…"}, byte for byte as
/// the market writes it. invalid_encoding when anything in it differs: the record, its hash, its
/// place.
[[nodiscard]] Result<ledger::base::Bytes> parse_log_line(std::string_view line,
                                                         std::uint64_t sequence);
/// The line of a record.
[[nodiscard]] std::string log_line(ledger::base::ByteView record, std::uint64_t sequence);

/// One page of the log's text form from the market.
[[nodiscard]] Result<std::string> fetch_log_page(Context& context, std::uint64_t first);

/// What a replay found.
struct ReplayReport {
    std::uint64_t records = 0;
    std::uint64_t events = 0;
    Hash32 state_hash;
    std::string defect;  ///< the first difference; empty when every record came out the same
};
/// Applies every command anew and compares events and state hashes.
[[nodiscard]] Result<ReplayReport> replay(RecordReader& reader, const ledger::eth::Domain& domain,
                                          const Address& operator_address,
                                          std::uint64_t voucher_period_atoms);

}  // namespace marketplace::cli
