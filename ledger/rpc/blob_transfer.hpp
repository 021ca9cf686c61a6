// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/http_client.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>

namespace ledger::rpc {

/// Larger files are sent in parts: a cut costs at most one part.
inline constexpr std::uint64_t kWholeBytesMax = 64ULL << 20;
/// The largest file that is sent or fetched at all.
inline constexpr std::uint64_t kTransferBytesMax = 64ULL << 30;

struct TransferOptions {
    HttpLimits limits;
    unsigned tries = 8;                    ///< in a row without one byte of progress
    std::chrono::milliseconds pause{250};  ///< after a failure; doubles up to 4 s
    std::uint64_t part_bytes = 16ULL << 20;
    /// Bytes done and, where it is known (otherwise 0), of how many. On the caller's thread.
    std::function<void(std::uint64_t done, std::uint64_t total)> on_progress;
    std::stop_token stop;  ///< ends the waits; cancelled

    TransferOptions();
};

/// GETs `request` into `file` and goes on from what is on disk, after cuts too (RFC 9110 ranges;
/// send If-Range with the entity tag where a changed body must begin anew). The answer's status
/// says how it ended: 200, 206 or 416 when the file is as long as the body, else what the server
/// refused with. The contents are the caller's to check. Errors: the last failure in transport
/// after `tries` of them.
[[nodiscard]] base::Result<HttpResponse> fetch_in_parts(HttpClient& client,
                                                        const HttpRequest& request,
                                                        const std::filesystem::path& file,
                                                        const TransferOptions& options);

/// Sends `file` to the upload resource `request` names, in parts: POST with Upload-Length begins
/// or finds the upload, GET says from which byte to go on after a failure, PATCH with Upload-Offset
/// appends (the headers of draft-ietf-httpbis-resumable-upload). The answer is that of the last
/// part (Upload-Complete: ?1), or the first refusal that asking again does not help.
[[nodiscard]] base::Result<HttpResponse> send_in_parts(HttpClient& client,
                                                       const HttpRequest& request,
                                                       const std::filesystem::path& file,
                                                       const TransferOptions& options);

}  // namespace ledger::rpc
