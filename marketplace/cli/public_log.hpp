// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/log_source.hpp"
#include "marketplace/cli/context.hpp"
#include "marketplace/engine/journal.hpp"

#include <nlohmann/json.hpp>

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
    /// The market's facts as far as this log carries them; null when it does not.
    [[nodiscard]] virtual Result<nlohmann::json> facts() { return nlohmann::json(); }
    /// How much was read, in thousandths.
    [[nodiscard]] virtual std::uint64_t permille() const { return 0; }
};

/// `where`: a file written by `millrace log fetch`; http://host:port of a market, which all that
/// follows then asks; empty: the market of the settings.
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

/// The receipt that a record holds, if it holds one.
[[nodiscard]] std::optional<ledger::audit::SignedReceipt> receipt_in(ledger::base::ByteView record);

/// The contracts to check against: from a file the auditor trusts, or as the market says.
[[nodiscard]] Result<ledger::settlement::Deployment> read_deployment(Context& context,
                                                                     const std::string& file);

/// One line of the log's text form: {"sequence":N,"hash":"0x…","record":"0x…"}, byte for byte as
/// the market writes it. invalid_encoding when anything in it differs: the record, its hash, its
/// place.
[[nodiscard]] Result<ledger::base::Bytes> parse_log_line(std::string_view line,
                                                         std::uint64_t sequence);
/// The line of a record.
[[nodiscard]] std::string log_line(ledger::base::ByteView record, std::uint64_t sequence);

/// One page of the log's text form from the market.
[[nodiscard]] Result<std::string> fetch_log_page(Context& context, std::uint64_t first);
/// The line that `log fetch` puts before the records: {"market":{…}}. Empty: it is another line.
[[nodiscard]] std::string facts_line(const nlohmann::json& facts);
[[nodiscard]] Result<std::optional<nlohmann::json>> parse_facts_line(std::string_view line);

}  // namespace marketplace::cli
