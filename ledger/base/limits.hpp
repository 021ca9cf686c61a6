// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

/// Every bound in one place. A queue, body, file or time without a line here is a bug.
namespace ledger::base::limits {

// HTTP edge
inline constexpr std::size_t kHttpHeaderBytes = 8 * 1024;
inline constexpr std::size_t kHttpHeaderFields = 64;
inline constexpr std::size_t kHttpBodyBytes = 256 * 1024;
inline constexpr std::size_t kHttpBlobBytes = 1024ULL * 1024 * 1024;
inline constexpr std::size_t kHttpConnections = 4096;
inline constexpr std::size_t kHttpConnectionsPerAddress = 256;
inline constexpr std::size_t kHttpRequestsPerConnection = 1000;
inline constexpr std::chrono::seconds kHttpHeaderTimeout{5};
inline constexpr std::chrono::seconds kHttpBodyTimeout{10};
inline constexpr std::chrono::seconds kHttpIdleTimeout{30};
inline constexpr std::chrono::seconds kHttpWriteTimeout{10};
inline constexpr std::chrono::seconds kHttpHandlerTimeout{120};
inline constexpr std::size_t kHttpStreamQueueBytes = 1024 * 1024;
inline constexpr std::size_t kWsMessageBytes = 64 * 1024;
inline constexpr std::size_t kWsQueueBytes = 1024 * 1024;

// JSON
inline constexpr std::size_t kJsonDepth = 32;
inline constexpr std::size_t kJsonKeys = 1000;

// JSON-RPC answers
inline constexpr std::size_t kRpcAnswerBytes = 8 * 1024 * 1024;
inline constexpr std::chrono::seconds kRpcTimeout{10};

// Engine
inline constexpr std::size_t kEngineQueue = 1024;
inline constexpr std::size_t kOpenOrdersPerAccount = 10'000;
inline constexpr std::size_t kOpenAsksPerWorker = 64;
inline constexpr std::uint64_t kOpenInterestTimes = 10;  // open bids against free money
inline constexpr std::size_t kCountedAsks = 4096;        // a larger book: reasons on demand only
inline constexpr std::uint64_t kMaxUnits = 1ULL << 53;
inline constexpr std::uint64_t kMaxPriceAtoms = 1ULL << 50;
inline constexpr std::size_t kListItems = 64;  // entries of one list of an order
inline constexpr std::uint16_t kGangSize = 64;
inline constexpr std::uint64_t kSlicesPerJob = 1000;
inline constexpr std::uint64_t kMaxDurationS = 366ULL * 24 * 3600;

// Orders and jobs
inline constexpr std::size_t kJobSpecBytes = 64 * 1024;
inline constexpr std::uint64_t kMaxTrainingSteps = 10'000'000;
inline constexpr std::uint64_t kFailoverAttempts = 5;

}  // namespace ledger::base::limits
