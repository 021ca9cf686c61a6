// SPDX-License-Identifier: Apache-2.0
// Price-time matching alone: one book of two sides, made of the ladders that the book of bids is
// made of, without their attributes. A crossing stream of adds and cancels, partial fills
// by quantity, cancels by id.
//
//     scripts/bench matching-plain [FILE]     FILE: where the stream is written, and kept
//
// The stream is written to a file first, then mapped and read, so that other engines can be fed the
// same one. It is a row of records of 24 bytes, little-endian, without a header:
//     u32 kind        0 buy, 1 sell, 2 cancel
//     u32 quantity    of a buy or sell, 100 to 1,000; else 0
//     u64 price       ticks, of a buy or sell; else 0
//     u64 id          buys and sells: 0, 1, 2 … in order; cancel: the order to take out, which may
//                     have been filled by then (nothing happens)
// An order trades with the best orders of the other side while their prices allow, at their price,
// the older first; what is left of it rests.
//
// Beside it, in turns: the same stream through the book one writes first (std::map of price to
// std::list, std::unordered_map of ids), whose trades must be the same to the last unit; and the
// limit program, that reads each record, writes a row at the order's own place and reads one other
// row.
#include "ledger/base/check.hpp"
#include "marketplace/matching/ladders.hpp"
#include "tests/bench/cpu.hpp"
#include "tests/bench/report.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <list>
#include <map>
#include <span>
#include <unordered_map>

namespace {

namespace mm = marketplace::matching;

constexpr std::uint64_t kSeed = 11;
constexpr std::size_t kRecords = 2'000'000;
constexpr std::size_t kRounds = 7;

enum Kind : std::uint32_t { kBuy = 0, kSell = 1, kCancel = 2 };
struct Record {
    std::uint32_t kind = 0;
    std::uint32_t quantity = 0;
    std::uint64_t price = 0;
    std::uint64_t id = 0;
};
static_assert(sizeof(Record) == 24);

/// One record in five cancels one of the last 2,000 orders; the prices of buyers and sellers share
/// six of ten ticks.
void write_stream(const std::filesystem::path& file) {
    bench::Random random(kSeed);
    std::vector<Record> records(kRecords);
    std::uint64_t id = 0;
    for (Record& record : records) {
        if (id > 2000 && random.below(5) == 0) {
            record = {kCancel, 0, 0, id - 1 - random.below(2000)};
            continue;
        }
        record.kind = random.below(2) == 0 ? kBuy : kSell;
        record.quantity = static_cast<std::uint32_t>(100 * (1 + random.below(10)));
        record.price = (record.kind == kBuy ? 1'000'000 : 1'000'004) + random.below(10);
        record.id = id++;
    }
    std::ofstream out(file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(records.data()),
              static_cast<std::streamsize>(records.size() * sizeof(Record)));
    MR_CHECK(out.good());
}

class MappedStream {
 public:
    explicit MappedStream(const std::filesystem::path& file) {
        const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
        MR_CHECK(fd >= 0);
        size_ = std::filesystem::file_size(file);
        data_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        close(fd);
        MR_CHECK(data_ != MAP_FAILED);
    }
    MappedStream(const MappedStream&) = delete;
    MappedStream& operator=(const MappedStream&) = delete;
    ~MappedStream() { munmap(data_, size_); }
    [[nodiscard]] std::span<const Record> records() const {
        return {static_cast<const Record*>(data_), size_ / sizeof(Record)};
    }

 private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

struct Trades {
    std::uint64_t count = 0;
    std::uint64_t quantity = 0;
    std::uint64_t digest = 0;  ///< of every trade, in order
    void add(std::uint64_t resting, std::uint64_t incoming, std::uint64_t amount) {
        ++count;
        quantity += amount;
        digest = (digest ^ resting ^ incoming << 24U ^ amount << 48U) * 0x9e37'79b9'7f4a'7c15ULL;
    }
    friend bool operator==(const Trades&, const Trades&) = default;
};

struct PlainRows {
    struct Hot {
        mm::Key key;  ///< price (falling for buyers), then age
        std::uint64_t quantity = 0;
    };
    struct Bound {
        friend bool operator==(const Bound&, const Bound&) = default;
    };
    static void widen(Bound&, const mm::Signature&, const Hot&) noexcept {}
    static void join(Bound&, const Bound&) noexcept {}
};

class LadderBook {
 public:
    explicit LadderBook(std::size_t orders) : places_(orders, Rows::kNowhere) {
        for (int side = 0; side < 2; ++side)
            MR_CHECK(rows_.add_ladder() == static_cast<Rows::LadderId>(side));
    }
    void apply(const Record& record) {
        if (record.kind == kCancel) return erase(record.id);
        const bool buys = record.kind == kBuy;
        std::uint64_t left = record.quantity;
        const Rows::LadderId other = buys ? kSell : kBuy;
        const mm::Key limit{buys ? record.price : ~record.price, UINT64_MAX};
        while (left != 0) {
            const std::uint64_t best = first(other, limit);
            if (best == kNobody) break;
            PlainRows::Hot& row = rows_.hot(places_[best]);
            const std::uint64_t amount = std::min(left, row.quantity);
            trades.add(best, record.id, amount);
            left -= amount;
            row.quantity -= amount;
            if (row.quantity == 0) erase(best);
        }
        if (left == 0) return;
        const std::uint64_t rank = buys ? ~record.price : record.price;
        rows_.insert(buys ? kBuy : kSell, {}, {{rank, record.id}, left}, Moved{places_});
    }
    Trades trades;

 private:
    using Rows = mm::Ladders<PlainRows>;
    static constexpr std::uint64_t kNobody = UINT64_MAX;
    struct Moved {
        std::vector<Rows::Place>& places;
        void operator()(const PlainRows::Hot& row, Rows::Place place) const {
            places[row.key.second] = place;
        }
    };
    [[nodiscard]] std::uint64_t first(Rows::LadderId side, const mm::Key& limit) const {
        mm::Key best = limit;
        bool is_found = false;
        mm::Effort effort;
        rows_.walk(
            side, mm::kFirstKey, limit, effort, [](const PlainRows::Bound&) { return true; },
            [&](const Rows::Block& block) {
                for (std::uint32_t i = 0; i < block.count; ++i)
                    best = mm::is_before(block.hot(i).key, best) ? block.hot(i).key : best;
                is_found = best != limit;
                return true;
            });
        return is_found ? best.second : kNobody;
    }
    void erase(std::uint64_t id) {
        if (places_[id] == Rows::kNowhere) return;
        rows_.erase(places_[id], Moved{places_});
        places_[id] = Rows::kNowhere;
    }

    Rows rows_;
    std::vector<Rows::Place> places_;  // by id
};

class MapBook {
 public:
    explicit MapBook(std::size_t) {}
    void apply(const Record& record) {
        if (record.kind == kCancel) return cancel(record.id);
        const bool buys = record.kind == kBuy;
        std::uint64_t left = record.quantity;
        Side& other = sides_[buys ? kSell : kBuy];
        const std::uint64_t limit = buys ? record.price : ~record.price;
        while (left != 0 && !other.empty() && other.begin()->first <= limit) {
            Level& level = other.begin()->second;
            Resting& row = level.front();
            const std::uint64_t amount = std::min(left, row.quantity);
            trades.add(row.id, record.id, amount);
            left -= amount;
            row.quantity -= amount;
            if (row.quantity != 0) continue;
            where_.erase(row.id);
            level.pop_front();
            if (level.empty()) other.erase(other.begin());
        }
        if (left == 0) return;
        Level& level = sides_[record.kind][buys ? ~record.price : record.price];
        level.push_back({record.id, left});
        where_[record.id] = {record.kind, buys ? ~record.price : record.price,
                             std::prev(level.end())};
    }
    Trades trades;

 private:
    struct Resting {
        std::uint64_t id = 0;
        std::uint64_t quantity = 0;
    };
    using Level = std::list<Resting>;
    using Side = std::map<std::uint64_t, Level>;
    struct Where {
        std::uint32_t side = 0;
        std::uint64_t price = 0;
        Level::iterator row;
    };
    void cancel(std::uint64_t id) {
        const auto found = where_.find(id);
        if (found == where_.end()) return;
        Side& side = sides_[found->second.side];
        const auto level = side.find(found->second.price);
        level->second.erase(found->second.row);
        if (level->second.empty()) side.erase(level);
        where_.erase(found);
    }
    std::array<Side, 2> sides_;
    std::unordered_map<std::uint64_t, Where> where_;
};

/// The touches no book can avoid.
class Limit {
 public:
    explicit Limit(std::size_t orders) : rows_(orders) {}
    void apply(const Record& record) {
        // Another order: one of the last 1,024, as those that trade mostly are.
        const std::uint64_t other = record.id - std::min(record.id, record.price * 7 % 1024);
        trades.quantity += rows_[other].quantity;
        rows_[record.id] = {{record.price, record.id}, record.quantity};
    }
    Trades trades;

 private:
    std::vector<PlainRows::Hot> rows_;
};

/// Records per CPU second; the trades come out.
template <typename Book>
double run(std::span<const Record> records, Trades& out) {
    Book book(records.size());
    const double seconds = bench::cpu_seconds_of([&] {
        for (const Record& record : records)
            book.apply(record);
    });
    out = book.trades;
    return static_cast<double>(records.size()) / seconds;
}

/// Wall time of each add, in nanoseconds, with the clock's own 20 to 30.
std::vector<std::uint64_t> add_latencies(std::span<const Record> records) {
    std::vector<std::uint64_t> out;
    out.reserve(records.size());
    LadderBook book(records.size());
    for (const Record& record : records) {
        const std::uint64_t begin = bench::now_ns();
        book.apply(record);
        const std::uint64_t end = bench::now_ns();
        if (record.kind != kCancel) out.push_back(end - begin);
    }
    return out;
}

int bench_stream(std::span<const Record> records) {
    std::vector<double> ours;
    std::vector<double> to_map;
    std::vector<double> to_limit;
    std::vector<double> to_self;
    Trades trades;
    Trades expected;
    Trades ignored;
    const double interruptions = bench::interruptions();
    for (std::size_t round = 0; round <= kRounds; ++round) {
        const double rate = run<LadderBook>(records, trades);
        const double map = run<MapBook>(records, expected);
        const double again = run<LadderBook>(records, trades);
        const double limit = run<Limit>(records, ignored);
        if (trades != expected) {
            fmt::print(stderr, "matching-plain: the trades differ from the reference's\n");
            return 1;
        }
        MR_CHECK(ignored.quantity != 0);
        if (round == 0) continue;  // warm
        ours.push_back(rate);
        to_map.push_back(rate / map);
        to_self.push_back(rate / again);
        to_limit.push_back(rate / limit);
    }
    const auto adds = static_cast<double>(std::count_if(
        records.begin(), records.end(), [](const Record& one) { return one.kind != kCancel; }));
    const double share = adds / static_cast<double>(records.size());
    auto latencies = add_latencies(records);
    using bench::Better;
    bench::Report report("matching-plain");
    report.metric("records_per_cpu_s", bench::median(ours));
    report.metric("ratio_to_std_map", bench::median(to_map));
    report.metric("ratio_to_limit", bench::median(to_limit));
    report.metric("ratio_to_itself", bench::median(to_self));
    report.metric("trades", static_cast<double>(trades.count));
    report.metric("executed_quantity", static_cast<double>(trades.quantity));
    report.metric("p50_us", bench::percentile(latencies, 0.5) / 1000);
    report.metric("p99.9_us", bench::percentile(latencies, 0.999) / 1000);
    report.metric("involuntary_switches", bench::interruptions() - interruptions);
    report.goal("adds", bench::median(ours) * share, 4'000'000, "per cpu second", Better::kHigher);
    report.goal("p99 of an add", bench::percentile(latencies, 0.99) / 1000, 1, "us",
                Better::kLower);
    fmt::print("{}\n", report.json());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const auto folder = std::filesystem::current_path() / "build" / "bench";
    const bool keeps = argc > 1;
    const std::filesystem::path file =
        keeps ? std::filesystem::path(argv[1])
              : folder / fmt::format("matching-plain-{}.stream", getpid());
    std::filesystem::create_directories(folder);
    write_stream(file);
    int out = 0;
    {
        const MappedStream stream(file);
        out = bench_stream(stream.records());
    }
    if (!keeps) std::filesystem::remove(file);
    return out;
}
