// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/lease_book.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"
#include "worker/agent/durable_file.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace worker::agent {
namespace {

using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::parse_fixed;
using ledger::base::to_hex;
using ledger::eth::Receipt;
using ledger::eth::Voucher;

constexpr std::size_t kTermsBytesMax = 512 * 1024;
constexpr std::size_t kReceiptBytes = 6 * 8 + 4 * 32 + 65;
constexpr std::size_t kVoucherBytes = 3 * 8 + 32 + 2 * 65;

class Writer {
 public:
    void u64(std::uint64_t value) {
        for (int i = 0; i < 8; ++i)
            bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
    template <typename Fixed>
    void fixed(const Fixed& value) {
        ledger::base::append(bytes_, ByteView(value.data(), Fixed::kSize));
    }
    [[nodiscard]] const Bytes& bytes() const noexcept { return bytes_; }

 private:
    Bytes bytes_;
};

/// Reads a record whose size is already checked.
class Reader {
 public:
    explicit Reader(ByteView bytes) noexcept : bytes_(bytes) {}
    [[nodiscard]] std::uint64_t u64() {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < 8; ++i)
            value |= std::uint64_t{bytes_[at_ + i]} << (8 * i);
        at_ += 8;
        return value;
    }
    template <typename Fixed>
    [[nodiscard]] Fixed fixed() {
        Fixed value;
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), Fixed::kSize, value.data());
        at_ += Fixed::kSize;
        return value;
    }

 private:
    ByteView bytes_;
    std::size_t at_ = 0;
};

Bytes encode(const StoredReceipt& stored) {
    Writer out;
    out.u64(stored.receipt.sequence);
    out.u64(stored.receipt.cumulative_units);
    out.u64(stored.receipt.cumulative_amount_atoms);
    out.u64(stored.receipt.start_ms);
    out.u64(stored.receipt.end_ms);
    out.u64(stored.step);
    out.fixed(stored.receipt.previous);
    out.fixed(stored.receipt.model_hash);
    out.fixed(stored.receipt.request_hash);
    out.fixed(stored.receipt.response_hash);
    out.fixed(stored.signature);
    return out.bytes();
}

StoredReceipt decode_receipt(ByteView bytes, const LeaseTerms& terms) {
    Reader in(bytes);
    StoredReceipt stored;
    Receipt& receipt = stored.receipt;
    receipt.lease = terms.lease;
    receipt.unit_kind = terms.unit_kind;
    receipt.price_atoms = terms.price_atoms;
    receipt.sequence = in.u64();
    receipt.cumulative_units = in.u64();
    receipt.cumulative_amount_atoms = in.u64();
    receipt.start_ms = in.u64();
    receipt.end_ms = in.u64();
    stored.step = in.u64();
    receipt.previous = in.fixed<Hash32>();
    receipt.model_hash = in.fixed<Hash32>();
    receipt.request_hash = in.fixed<Hash32>();
    receipt.response_hash = in.fixed<Hash32>();
    stored.signature = in.fixed<Signature>();
    return stored;
}

Bytes encode(const StoredVoucher& stored) {
    Writer out;
    out.u64(stored.voucher.sequence);
    out.u64(stored.voucher.cumulative_units);
    out.u64(stored.voucher.cumulative_amount_atoms);
    out.fixed(stored.voucher.receipts_root);
    out.fixed(stored.buyer_signature);
    out.fixed(stored.worker_signature);
    return out.bytes();
}

StoredVoucher decode_voucher(ByteView bytes, const LeaseTerms& terms) {
    Reader in(bytes);
    StoredVoucher stored;
    stored.voucher.lease = terms.lease;
    stored.voucher.sequence = in.u64();
    stored.voucher.cumulative_units = in.u64();
    stored.voucher.cumulative_amount_atoms = in.u64();
    stored.voucher.receipts_root = in.fixed<Hash32>();
    stored.buyer_signature = in.fixed<Signature>();
    stored.worker_signature = in.fixed<Signature>();
    return stored;
}

std::string to_text(const LeaseTerms& terms) {
    return ledger::rpc::to_text({
        {"version", 1},
        {"lease", to_hex(terms.lease)},
        {"buyer", to_hex(terms.parties.buyer)},
        {"provider", to_hex(terms.parties.provider)},
        {"voucher_signer", to_hex(terms.parties.voucher_signer)},
        {"worker_key", to_hex(terms.parties.worker_key)},
        {"ask_hash", to_hex(terms.key.ask_hash)},
        {"bid_hash", to_hex(terms.key.bid_hash)},
        {"index", std::to_string(terms.key.index)},
        {"unit_kind", std::string(ledger::eth::to_string(terms.unit_kind))},
        {"price", std::to_string(terms.price_atoms)},
        {"max_units", std::to_string(terms.max_units)},
        {"spec", terms.spec},
        {"salt", to_hex(terms.salt)},
        {"job", terms.job},
        {"start_step", std::to_string(terms.start_step)},
        {"start_checkpoint", to_hex(terms.start_checkpoint)},
    });
}

/// Collects the first failure of many reads.
class Fields {
 public:
    explicit Fields(const nlohmann::json& object) : object_(object) {}
    [[nodiscard]] std::string text(std::string_view name) {
        return take(ledger::rpc::string_at(object_, name));
    }
    [[nodiscard]] std::uint64_t u64(std::string_view name) {
        return take(ledger::rpc::u64_text_at(object_, name));
    }
    template <typename Fixed>
    [[nodiscard]] Fixed fixed(std::string_view name) {
        return take(parse_fixed<Fixed>(text(name)));
    }
    template <typename T>
    [[nodiscard]] T take(Result<T> value) {
        if (value) return std::move(*value);
        if (!error_) error_ = value.error();
        return T{};
    }
    [[nodiscard]] const std::optional<ledger::base::Error>& error() const { return error_; }

 private:
    const nlohmann::json& object_;
    std::optional<ledger::base::Error> error_;
};

Result<LeaseTerms> parse_terms(std::string_view text) {
    TRY_ASSIGN(const nlohmann::json document, ledger::rpc::parse_json(text));
    Fields in(document);
    LeaseTerms terms;
    terms.lease = in.fixed<Hash32>("lease");
    terms.parties.buyer = in.fixed<Address>("buyer");
    terms.parties.provider = in.fixed<Address>("provider");
    terms.parties.voucher_signer = in.fixed<Address>("voucher_signer");
    terms.parties.worker_key = in.fixed<Address>("worker_key");
    terms.key.ask_hash = in.fixed<Hash32>("ask_hash");
    terms.key.bid_hash = in.fixed<Hash32>("bid_hash");
    terms.key.index = in.u64("index");
    terms.unit_kind = in.take(ledger::eth::parse_unit_kind(in.text("unit_kind")));
    terms.price_atoms = in.u64("price");
    terms.max_units = in.u64("max_units");
    terms.spec = in.text("spec");
    terms.salt = in.fixed<Hash32>("salt");
    terms.job = in.text("job");
    terms.start_step = in.u64("start_step");
    terms.start_checkpoint = in.fixed<Hash32>("start_checkpoint");
    if (in.error()) return tl::make_unexpected(*in.error());
    return terms;
}

/// The outcome as one word in a file.
Result<Outcome> parse_outcome(std::string_view text) {
    for (const Outcome outcome : {Outcome::kFinished, Outcome::kFailed, Outcome::kCancelled})
        if (text == to_string(outcome)) return outcome;
    return fail(ErrorCode::invalid_encoding, "the outcome file holds no known word");
}

/// Where the work starts moves on with each receipt; the rest never changes.
Result<void> check_same(const LeaseTerms& known, LeaseTerms terms) {
    terms.start_step = known.start_step;
    terms.start_checkpoint = known.start_checkpoint;
    if (terms != known)
        return fail(ErrorCode::exists_with_different_body,
                    "lease " + to_hex(terms.lease) + " is known with other terms");
    return {};
}

}  // namespace

std::string_view to_string(Outcome outcome) noexcept {
    switch (outcome) {
        case Outcome::kOpen:
            return "open";
        case Outcome::kFinished:
            return "finished";
        case Outcome::kFailed:
            return "failed";
        case Outcome::kCancelled:
            return "cancelled";
    }
    return "open";
}

LeaseBook::LeaseBook(std::filesystem::path folder, LeaseTerms terms)
    : folder_(std::move(folder)), terms_(std::move(terms)) {}

Result<std::shared_ptr<LeaseBook>> LeaseBook::create(const std::filesystem::path& folder,
                                                     const LeaseTerms& terms) {
    std::error_code error;
    if (std::filesystem::exists(folder / "terms.json", error)) {
        TRY_ASSIGN(auto book, open(folder));
        TRY(check_same(book->terms(), terms));
        return book;
    }
    std::filesystem::create_directories(folder, error);
    if (error) return fail(ErrorCode::io_error, "cannot make the folder of a lease");
    TRY(write_file(folder / "terms.json", to_text(terms)));
    return std::shared_ptr<LeaseBook>(new LeaseBook(folder, terms));
}

Result<std::shared_ptr<LeaseBook>> LeaseBook::open(const std::filesystem::path& folder) {
    TRY_ASSIGN(const std::string text, read_file(folder / "terms.json", kTermsBytesMax));
    TRY_ASSIGN(LeaseTerms terms, parse_terms(text));
    std::shared_ptr<LeaseBook> book(new LeaseBook(folder, std::move(terms)));
    TRY(book->load());
    return book;
}

Result<void> LeaseBook::load() {
    const std::lock_guard lock(mutex_);
    TRY_ASSIGN(const auto receipts, read_records(folder_ / "receipts", kReceiptBytes));
    for (const Bytes& bytes : receipts) {
        const StoredReceipt stored = decode_receipt(bytes, terms_);
        if (stored.receipt.sequence != receipts_.size() + 1 ||
            stored.receipt.previous != last_hash_)
            return fail(ErrorCode::invalid_encoding,
                        "the receipts of lease " + to_hex(terms_.lease) + " form no chain");
        remember(stored, ledger::eth::struct_hash(stored.receipt));
    }
    TRY_ASSIGN(const auto vouchers, read_records(folder_ / "vouchers", kVoucherBytes));
    if (!vouchers.empty()) {
        voucher_ = decode_voucher(vouchers.back(), terms_);
        acknowledged_ = std::min<std::uint64_t>(voucher_->voucher.sequence, receipts_.size());
    }
    const Result<std::string> outcome = read_file(folder_ / "outcome", 64);
    if (outcome) {
        TRY_ASSIGN(outcome_, parse_outcome(*outcome));
    } else if (outcome.error().code() != ErrorCode::data_missing) {
        return tl::make_unexpected(outcome.error());
    }
    return {};
}

void LeaseBook::remember(const StoredReceipt& stored, const Hash32& hash) {
    receipts_.push_back(stored);
    tree_.append_data(ByteView(hash.data(), Hash32::kSize));
    last_hash_ = hash;
}

Result<StoredReceipt> LeaseBook::append(const WorkDone& work,
                                        const ledger::crypto::PrivateKey& worker,
                                        const ledger::eth::Domain& domain) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t before = receipts_.empty() ? 0 : receipts_.back().receipt.cumulative_units;
    if (work.cumulative_units <= before)
        return fail(ErrorCode::out_of_range, "the receipt counts no new work");
    if (work.cumulative_units > terms_.max_units)
        return fail(ErrorCode::voucher_above_lock,
                    "the work passes the lease's " + std::to_string(terms_.max_units) + " units");
    TRY_ASSIGN(
        const std::uint64_t amount,
        ledger::eth::amount_for(terms_.unit_kind, work.cumulative_units, terms_.price_atoms));
    StoredReceipt stored;
    Receipt& receipt = stored.receipt;
    receipt.lease = terms_.lease;
    receipt.sequence = receipts_.size() + 1;
    receipt.previous = last_hash_;
    receipt.unit_kind = terms_.unit_kind;
    receipt.cumulative_units = work.cumulative_units;
    receipt.price_atoms = terms_.price_atoms;
    receipt.cumulative_amount_atoms = amount;
    receipt.model_hash = work.model_hash;
    receipt.request_hash = work.request_hash;
    receipt.response_hash = work.response_hash;
    receipt.start_ms = work.start_ms;
    receipt.end_ms = std::max(work.start_ms, work.end_ms);
    stored.step = work.step;
    const Hash32 hash = ledger::eth::struct_hash(receipt);
    stored.signature =
        worker.sign(ledger::eth::typed_digest(ledger::eth::domain_separator(domain), hash));
    TRY(append_file(folder_ / "receipts", seal_record(encode(stored))));
    remember(stored, hash);
    return stored;
}

Result<void> LeaseBook::check_voucher(const Voucher& voucher) const {
    if (voucher.lease != terms_.lease)
        return fail(ErrorCode::invalid_field, "the voucher is of another lease");
    if (voucher_ && voucher.sequence <= voucher_->voucher.sequence)
        return fail(ErrorCode::voucher_not_higher, "sequence " + std::to_string(voucher.sequence) +
                                                       " is not above " +
                                                       std::to_string(voucher_->voucher.sequence));
    if (voucher.sequence == 0 || voucher.sequence > receipts_.size())
        return fail(ErrorCode::receipt_out_of_order,
                    "this worker signed " + std::to_string(receipts_.size()) + " receipts, not " +
                        std::to_string(voucher.sequence));
    const Receipt& receipt = receipts_[voucher.sequence - 1].receipt;
    if (voucher.cumulative_units != receipt.cumulative_units)
        return fail(ErrorCode::invalid_field, "cumulativeUnits differs from the receipt's");
    if (voucher.cumulative_amount_atoms != receipt.cumulative_amount_atoms)
        return fail(ErrorCode::invalid_field, "cumulativeAmount differs from the receipt's");
    TRY_ASSIGN(const Hash32 root, tree_.root_at(voucher.sequence));
    if (voucher.receipts_root != root)
        return fail(ErrorCode::invalid_field, "receiptsRoot is not the root of the receipts");
    return {};
}

Result<StoredVoucher> LeaseBook::countersign(const Voucher& voucher,
                                             const Signature& buyer_signature,
                                             const ledger::crypto::PrivateKey& worker,
                                             const ledger::eth::Domain& domain) {
    const std::lock_guard lock(mutex_);
    if (voucher_ && voucher_->voucher == voucher) return *voucher_;
    TRY(check_voucher(voucher));
    const Hash32 digest = ledger::eth::digest(domain, voucher);
    TRY(ledger::crypto::verify(digest, buyer_signature, terms_.parties.voucher_signer));
    StoredVoucher stored{voucher, buyer_signature, worker.sign(digest)};
    TRY(append_file(folder_ / "vouchers", seal_record(encode(stored))));
    voucher_ = stored;
    // A voucher over our receipts proves that the market has them.
    acknowledged_ = std::max(acknowledged_, voucher.sequence);
    return stored;
}

void LeaseBook::acknowledge(std::uint64_t sequence) {
    const std::lock_guard lock(mutex_);
    acknowledged_ = std::max(acknowledged_, std::min<std::uint64_t>(sequence, receipts_.size()));
}

std::vector<StoredReceipt> LeaseBook::receipts_after(std::uint64_t sequence) const {
    const std::lock_guard lock(mutex_);
    if (sequence >= receipts_.size()) return {};
    return {receipts_.begin() + static_cast<std::ptrdiff_t>(sequence), receipts_.end()};
}

std::vector<StoredReceipt> LeaseBook::unacknowledged() const {
    std::uint64_t from = 0;
    {
        const std::lock_guard lock(mutex_);
        from = acknowledged_;
    }
    return receipts_after(from);
}

std::uint64_t LeaseBook::sequence() const {
    const std::lock_guard lock(mutex_);
    return receipts_.size();
}

std::uint64_t LeaseBook::cumulative_units() const {
    const std::lock_guard lock(mutex_);
    return receipts_.empty() ? 0 : receipts_.back().receipt.cumulative_units;
}

std::uint64_t LeaseBook::amount_atoms() const {
    const std::lock_guard lock(mutex_);
    return receipts_.empty() ? 0 : receipts_.back().receipt.cumulative_amount_atoms;
}

std::uint64_t LeaseBook::voucher_amount_atoms() const {
    const std::lock_guard lock(mutex_);
    return voucher_ ? voucher_->voucher.cumulative_amount_atoms : 0;
}

std::uint64_t LeaseBook::unpaid_atoms() const {
    const std::uint64_t amount = amount_atoms();
    const std::uint64_t covered = voucher_amount_atoms();
    return amount > covered ? amount - covered : 0;
}

std::optional<std::uint64_t> LeaseBook::unpaid_since_ms() const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t covered = voucher_ ? voucher_->voucher.sequence : 0;
    if (covered >= receipts_.size()) return std::nullopt;
    return receipts_[covered].receipt.end_ms;
}

std::optional<StoredReceipt> LeaseBook::last_receipt() const {
    const std::lock_guard lock(mutex_);
    if (receipts_.empty()) return std::nullopt;
    return receipts_.back();
}

std::optional<StoredVoucher> LeaseBook::last_voucher() const {
    const std::lock_guard lock(mutex_);
    return voucher_;
}

Outcome LeaseBook::outcome() const {
    const std::lock_guard lock(mutex_);
    return outcome_;
}

Result<void> LeaseBook::set_outcome(Outcome outcome) {
    const std::lock_guard lock(mutex_);
    if (outcome_ == outcome) return {};
    TRY(write_file(folder_ / "outcome", to_string(outcome)));
    outcome_ = outcome;
    return {};
}

Result<void> LeaseStore::open(std::vector<std::string>& damaged) {
    const std::lock_guard lock(mutex_);
    books_.clear();
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) return fail(ErrorCode::io_error, "cannot make the state folder");
    for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
        if (!entry.is_directory()) continue;
        Result<std::shared_ptr<LeaseBook>> book = LeaseBook::open(entry.path());
        if (book) {
            books_.push_back(std::move(*book));
        } else {
            damaged.push_back(entry.path().filename().string() + ": " + book.error().message());
        }
    }
    if (error) return fail(ErrorCode::io_error, "cannot list the state folder");
    return {};
}

std::shared_ptr<LeaseBook> LeaseStore::find(const Hash32& lease) const {
    const std::lock_guard lock(mutex_);
    for (const auto& book : books_)
        if (book->terms().lease == lease) return book;
    return nullptr;
}

std::vector<std::shared_ptr<LeaseBook>> LeaseStore::all() const {
    const std::lock_guard lock(mutex_);
    return books_;
}

Result<std::shared_ptr<LeaseBook>> LeaseStore::create(const LeaseTerms& terms) {
    if (std::shared_ptr<LeaseBook> known = find(terms.lease)) {
        TRY(check_same(known->terms(), terms));
        return known;
    }
    TRY_ASSIGN(auto book, LeaseBook::create(folder_ / to_hex(terms.lease).substr(2), terms));
    const std::lock_guard lock(mutex_);
    books_.push_back(book);
    return book;
}

}  // namespace worker::agent
