// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/public_log.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "marketplace/engine/engine.hpp"

#include <fmt/format.h>

#include <deque>
#include <variant>

namespace marketplace::cli {
namespace {

using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

constexpr std::size_t kLineBytesMax = 4U << 20U;
constexpr std::uint64_t kPageRecords = 1000;

class FileReader final : public RecordReader {
 public:
    explicit FileReader(const std::string& path) : path_(path), in_(path, std::ios::binary) {}
    [[nodiscard]] bool is_open() const { return in_.is_open(); }
    [[nodiscard]] Result<std::optional<Bytes>> next() override {
        std::string line;
        while (std::getline(in_, line)) {
            ++line_;
            auto record = parse_log_line(line, line_ - 1);
            if (!record)
                return fail(record.error().code(),
                            fmt::format("{}, line {}: {}", path_, line_, record.error().detail()));
            return std::optional(std::move(*record));
        }
        return std::optional<Bytes>();
    }

 private:
    std::string path_;
    std::ifstream in_;
    std::uint64_t line_ = 0;
};

class MarketReader final : public RecordReader {
 public:
    explicit MarketReader(Context& context) : context_(context) {}
    [[nodiscard]] Result<std::optional<Bytes>> next() override {
        if (records_.empty() && !ended_) TRY(fill());
        if (records_.empty()) return std::optional<Bytes>();
        Bytes record = std::move(records_.front());
        records_.pop_front();
        return std::optional(std::move(record));
    }

 private:
    Result<void> fill() {
        TRY_ASSIGN(const std::string page, fetch_log_page(context_, next_));
        std::string_view rest = page;
        while (!rest.empty()) {
            const auto end = std::min(rest.find('\n'), rest.size());
            TRY_ASSIGN(Bytes record, parse_log_line(rest.substr(0, end), next_));
            records_.push_back(std::move(record));
            ++next_;
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        ended_ = records_.empty();
        return {};
    }

    Context& context_;
    std::deque<Bytes> records_;
    std::uint64_t next_ = 0;
    bool ended_ = false;
};

/// The part of a command that the audit reads.
struct Itemise {
    std::vector<ledger::audit::LogItem>& items;

    void operator()(const domain::PostAsk& command) const {
        items.push_back(ledger::audit::PostedAsk{command.ask, command.signature});
    }
    void operator()(const domain::PostJob& command) const {
        for (const domain::BidLeg& leg : command.legs) {
            ledger::audit::PostedBid bid;
            bid.bid = leg.bid;
            bid.signature = leg.signature;
            bid.delegation = command.delegation;
            bid.delegation_signature = command.delegation_signature;
            items.push_back(std::move(bid));
        }
    }
    void operator()(const domain::SubmitReceipt& command) const {
        items.push_back(ledger::audit::SignedReceipt{command.receipt, command.signature});
    }
    void operator()(const domain::RecordVoucher& command) const {
        items.push_back(ledger::audit::SignedVoucher{command.voucher, command.buyer_signature,
                                                     command.worker_signature});
    }
    template <typename Other>
    void operator()(const Other& /*command*/) const {}
};

}  // namespace

std::string log_line(ByteView record, std::uint64_t sequence) {
    return fmt::format(R"({{"sequence":{},"hash":"{}","record":"{}"}})", sequence,
                       to_hex(ledger::base::sha256(record)), to_hex(record));
}

Result<Bytes> parse_log_line(std::string_view line, std::uint64_t sequence) {
    constexpr std::string_view kMark = R"("record":")";
    const auto mark = line.find(kMark);
    if (mark == std::string_view::npos || !line.ends_with("\"}"))
        return fail(ErrorCode::invalid_encoding, "not a record of the log");
    line.remove_suffix(2);
    const std::string_view hex = line.substr(mark + kMark.size());
    const auto record = ledger::base::parse_hex(hex, kLineBytesMax);
    if (!record) return fail(ErrorCode::invalid_encoding, "not a record of the log");
    if (log_line(*record, sequence) != std::string(line) + "\"}")
        return fail(ErrorCode::invalid_encoding, "the record's number or hash is another");
    return *record;
}

Result<std::string> fetch_log_page(Context& context, std::uint64_t first) {
    return context.market().get_text(fmt::format("/v1/log?first={}&limit={}", first, kPageRecords),
                                     Auth::kNone);
}

Result<std::unique_ptr<RecordReader>> open_log(Context& context, const std::string& where) {
    if (where.empty() || where == context.settings.market)
        return std::unique_ptr<RecordReader>(std::make_unique<MarketReader>(context));
    if (where.starts_with("http://"))
        return fail(ErrorCode::invalid_field,
                    "to read another market's log, point --market at it: " + where);
    auto file = std::make_unique<FileReader>(where);
    if (!file->is_open()) return fail(ErrorCode::data_missing, "cannot read " + where);
    return std::unique_ptr<RecordReader>(std::move(file));
}

Result<std::optional<ledger::audit::LogRecord>> JournalSource::next() {
    auto bytes = reader_.next();
    ledger::audit::LogRecord out;
    if (!bytes) {
        // A line that is no record is a finding, not the end of the audit.
        if (bytes.error().code() != ErrorCode::invalid_encoding)
            return tl::make_unexpected(bytes.error());
        out.defect = bytes.error().detail();
        ++sequence_;
        return std::optional(std::move(out));
    }
    if (!*bytes) return std::optional<ledger::audit::LogRecord>();
    out.bytes = std::move(**bytes);
    const auto record = engine::decode_record(out.bytes);
    if (!record) {
        out.defect = "the record cannot be decoded";
    } else {
        if (record->sequence != sequence_)
            out.defect = fmt::format("says it is record {}", record->sequence);
        if (record->previous != previous_)
            out.defect = "does not name the hash of the record before it";
        std::visit(Itemise{out.items}, record->command);
    }
    previous_ = engine::record_hash(out.bytes);
    ++sequence_;
    return std::optional(std::move(out));
}

Result<ReplayReport> replay(RecordReader& reader, const ledger::eth::Domain& domain,
                            const Address& operator_address, std::uint64_t voucher_period_atoms) {
    engine::EngineConfig config;
    config.domain = domain;
    config.operator_address = operator_address;
    if (voucher_period_atoms > 0) config.voucher_period_atoms = voucher_period_atoms;
    engine::Engine engine(config);
    ReplayReport report;
    Hash32 previous;
    while (true) {
        TRY_ASSIGN(const auto bytes, reader.next());
        if (!bytes) break;
        const auto differs = [&](std::string text) {
            report.defect = fmt::format("record {}: {}", report.records, text);
            return report;
        };
        const auto record = engine::decode_record(*bytes);
        if (!record) return differs("cannot be decoded");
        if (record->sequence != report.records || record->previous != previous)
            return differs("does not follow the record before it");
        const auto events = engine.apply(record->command, record->time_ms);
        if (!events) return differs("the engine refuses it: " + events.error().message());
        if (*events != record->events) return differs("the engine decides otherwise");
        if (engine.state_hash() != record->state_hash)
            return differs("the engine comes to another state");
        previous = engine::record_hash(*bytes);
        report.events += events->size();
        ++report.records;
    }
    report.state_hash = engine.state_hash();
    return report;
}

}  // namespace marketplace::cli
