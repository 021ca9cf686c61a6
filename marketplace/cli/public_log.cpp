// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/public_log.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>
#include <variant>

namespace marketplace::cli {
namespace {

using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using nlohmann::json;

constexpr std::size_t kLineBytesMax = 4U << 20U;
constexpr std::uint64_t kPageRecords = 1000;

class FileReader final : public RecordReader {
 public:
    explicit FileReader(const std::string& path) : path_(path), in_(path, std::ios::binary) {
        in_.seekg(0, std::ios::end);
        size_ = static_cast<std::uint64_t>(std::max<std::streamoff>(in_.tellg(), 0));
        in_.seekg(0);
    }
    [[nodiscard]] bool is_open() const { return in_.is_open(); }
    [[nodiscard]] Result<std::optional<Bytes>> next() override {
        TRY(read_head());
        const auto line = next_line();
        if (!line) return std::optional<Bytes>();
        auto record = parse_log_line(*line, records_++);
        if (!record) return fail(record.error().code(), at_line(record.error()));
        return std::optional(std::move(*record));
    }
    [[nodiscard]] Result<json> facts() override {
        TRY(read_head());
        return facts_;
    }
    [[nodiscard]] std::uint64_t permille() const override {
        return size_ == 0 ? 1000 : read_ * 1000 / size_;
    }

 private:
    /// The facts, when the file begins with them.
    Result<void> read_head() {
        if (has_head_) return {};
        has_head_ = true;
        kept_ = next_line();
        if (!kept_) return {};
        const auto facts = parse_facts_line(*kept_);
        if (!facts) return fail(facts.error().code(), at_line(facts.error()));
        if (!*facts) return {};
        facts_ = **facts;
        kept_.reset();
        return {};
    }
    [[nodiscard]] std::optional<std::string> next_line() {
        if (kept_) return std::exchange(kept_, std::nullopt);
        std::string line;
        if (!std::getline(in_, line)) return std::nullopt;
        ++line_;
        read_ += line.size() + 1;
        return line;
    }
    [[nodiscard]] std::string at_line(const ledger::base::Error& error) const {
        return fmt::format("{}, line {}: {}", path_, line_, error.detail());
    }

    std::string path_;
    std::ifstream in_;
    std::uint64_t size_ = 0;
    std::uint64_t read_ = 0;
    std::uint64_t line_ = 0;
    std::uint64_t records_ = 0;
    bool has_head_ = false;
    std::optional<std::string> kept_;
    json facts_;
};

class MarketReader final : public RecordReader {
 public:
    explicit MarketReader(Context& context) : context_(context) {}
    [[nodiscard]] Result<std::optional<Bytes>> next() override {
        if (records_.empty() && !ended_) TRY(fill());
        if (records_.empty()) return std::optional<Bytes>();
        Bytes record = std::move(records_.front());
        records_.pop_front();
        ++given_;
        return std::optional(std::move(record));
    }
    [[nodiscard]] Result<json> facts() override {
        TRY_ASSIGN(const MarketFacts* facts, context_.facts());
        return facts->document;
    }
    [[nodiscard]] std::uint64_t permille() const override {
        return size_ == 0 ? 0 : std::min(given_, size_) * 1000 / size_;
    }

 private:
    Result<void> fill() {
        if (size_ == 0) {
            TRY_ASSIGN(const json head, context_.market().get("/v1/log/head", Auth::kNone));
            size_ = ledger::rpc::integer_at(head, "size").value_or(0);
        }
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
    std::uint64_t given_ = 0;
    std::uint64_t size_ = 0;  ///< of the log when the reading began
    bool ended_ = false;
};

/// The part of a command that the audit reads.
struct Itemise {
    std::vector<ledger::audit::LogItem>& items;
    const std::vector<domain::Event>& events;

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
        const ledger::audit::SignedReceipt receipt{command.receipt, command.signature};
        const bool is_second = std::any_of(events.begin(), events.end(), [](const auto& event) {
            return std::holds_alternative<domain::ReceiptEquivocated>(event);
        });
        if (is_second)
            items.push_back(ledger::audit::EquivocalReceipt{receipt});
        else
            items.push_back(receipt);
    }
    void operator()(const domain::RecordVoucher& command) const {
        items.push_back(ledger::audit::SignedVoucher{command.voucher, command.buyer_signature,
                                                     command.worker_signature});
    }
    template <typename Other>
    void operator()(const Other& /*command*/) const {}
};

}  // namespace

std::optional<ledger::audit::SignedReceipt> receipt_in(ByteView record) {
    const auto decoded = engine::decode_record(record);
    if (!decoded) return std::nullopt;
    const auto* command = std::get_if<domain::SubmitReceipt>(&decoded->command);
    if (command == nullptr) return std::nullopt;
    return ledger::audit::SignedReceipt{command->receipt, command->signature};
}

Result<ledger::settlement::Deployment> read_deployment(Context& context, const std::string& file) {
    if (!file.empty()) return ledger::settlement::read_deployment(file);
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    return facts->deployment;
}

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

std::string facts_line(const json& facts) {
    return ledger::rpc::to_text({{"market", facts}});
}

Result<std::optional<json>> parse_facts_line(std::string_view line) {
    if (!line.starts_with(R"({"market":)")) return std::optional<json>();
    TRY_ASSIGN(const json document, ledger::rpc::parse_json(line));
    if (document.size() != 1 || !document["market"].is_object())
        return fail(ErrorCode::invalid_encoding, "not the facts of a market");
    return std::optional<json>(document["market"]);
}

Result<std::string> fetch_log_page(Context& context, std::uint64_t first) {
    return context.market().get_text(fmt::format("/v1/log?first={}&limit={}", first, kPageRecords),
                                     Auth::kNone);
}

Result<std::unique_ptr<RecordReader>> open_log(Context& context, const std::string& where) {
    if (where.empty() || where == context.settings.market)
        return std::unique_ptr<RecordReader>(std::make_unique<MarketReader>(context));
    if (where.starts_with("http://")) {
        context.settings.market = where.substr(0, where.find_last_not_of('/') + 1);
        return std::unique_ptr<RecordReader>(std::make_unique<MarketReader>(context));
    }
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
        std::visit(Itemise{out.items, record->events}, record->command);
    }
    previous_ = engine::record_hash(out.bytes);
    ++sequence_;
    return std::optional(std::move(out));
}

}  // namespace marketplace::cli
