// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/blob_transfer.hpp"

#include "ledger/base/money.hpp"
#include "ledger/rpc/poll.hpp"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

namespace ledger::rpc {

namespace fs = std::filesystem;
using base::ErrorCode;
using base::fail;
using base::Result;

namespace {

constexpr std::chrono::milliseconds kPauseMax{4000};

/// Asking again may help: the other side is gone, slow, full of work or has just restarted.
[[nodiscard]] bool is_passing(const Result<HttpResponse>& response) {
    if (!response)
        return response.error().code() == ErrorCode::unavailable ||
               response.error().code() == ErrorCode::timeout;
    return response->status == 408 || response->status == 429 || response->status == 502 ||
           response->status == 503 || response->status == 504;
}

/// Counts failures in a row and waits between them.
class Patience {
 public:
    explicit Patience(const TransferOptions& options) : options_(options), pause_(options.pause) {}
    /// False when it is used up or the caller wants to stop.
    [[nodiscard]] bool wait() {
        if (++failures_ >= options_.tries) return false;
        const bool stopped = pause_for(pause_, options_.stop);
        pause_ = std::min(2 * pause_, kPauseMax);
        return !stopped;
    }
    void progress() {
        failures_ = 0;
        pause_ = options_.pause;
    }

 private:
    const TransferOptions& options_;
    std::chrono::milliseconds pause_;
    unsigned failures_ = 0;
};

[[nodiscard]] std::uint64_t size_of(const fs::path& file) {
    std::error_code error;
    const std::uint64_t size = fs::file_size(file, error);
    return error ? 0 : size;
}

void tell(const TransferOptions& options, std::uint64_t done, std::uint64_t total) {
    if (options.on_progress) options.on_progress(done, total);
}

/// The length in "bytes */N" of a 416.
[[nodiscard]] Result<std::uint64_t> whole_length(const HttpResponse& response) {
    const std::string_view range = response.header("content-range");
    if (!range.starts_with("bytes */"))
        return fail(ErrorCode::invalid_encoding, "a 416 without the body's length");
    return base::parse_u64(range.substr(8));
}

[[nodiscard]] HttpRequest with(const HttpRequest& request, std::string method, std::string name,
                               std::uint64_t value) {
    HttpRequest out = request;
    out.method = std::move(method);
    if (!name.empty()) out.headers.push_back({std::move(name), std::to_string(value)});
    return out;
}

/// Where the upload stands; too many bytes for this file are refused.
struct Offset {
    std::uint64_t bytes = 0;
    bool complete = false;
};
[[nodiscard]] Result<Offset> read_offset(const HttpResponse& response, std::uint64_t length) {
    Offset out;
    out.complete = response.header("upload-complete") == "?1";
    TRY_ASSIGN(out.bytes, base::parse_u64(response.header("upload-offset")));
    if (out.bytes > length)
        return fail(ErrorCode::invalid_encoding, "the upload stands beyond the file's end");
    return out;
}

}  // namespace

TransferOptions::TransferOptions() {
    limits.exchange_timeout = std::chrono::seconds(30);
    limits.body_bytes = kTransferBytesMax;
}

Result<HttpResponse> fetch_in_parts(HttpClient& client, const HttpRequest& request,
                                    const fs::path& file, const TransferOptions& options) {
    Patience patience(options);
    while (true) {
        const std::uint64_t before = size_of(file);
        auto response = client.download(
            request, options.limits, file, before,
            [&](std::uint64_t done, std::uint64_t total) { tell(options, done, total); });
        if (response && response->status == 416) {
            TRY_ASSIGN(const std::uint64_t length, whole_length(*response));
            if (length == before) return response;  // all of it is here
            std::error_code error;
            fs::resize_file(file, 0, error);
            if (error) return fail(ErrorCode::io_error, "the download's file cannot be cut");
        } else if (!is_passing(response)) {
            return response;
        }
        if (size_of(file) > before) patience.progress();
        if (!patience.wait()) return response;
    }
}

Result<HttpResponse> send_in_parts(HttpClient& client, const HttpRequest& request,
                                   const fs::path& file, const TransferOptions& options) {
    std::error_code error;
    const std::uint64_t length = fs::file_size(file, error);
    if (error) return fail(ErrorCode::data_missing, "the file to send cannot be opened");
    Patience patience(options);
    std::uint64_t offset = 0;
    std::uint64_t furthest = 0;
    bool known = false;  // `offset` is what the other side has
    while (true) {
        auto response =
            known ? client.upload(with(request, "PATCH", "Upload-Offset", offset), options.limits,
                                  file, offset, std::min(options.part_bytes, length - offset))
                  : client.request(with(request, "POST", "Upload-Length", length), options.limits);
        if (response && response->status / 100 == 2) {
            TRY_ASSIGN(const Offset now, read_offset(*response, length));
            tell(options, now.bytes, length);
            if (now.complete) return response;
            const bool idle = known && now.bytes <= furthest;  // an answer that leads nowhere
            if (now.bytes > furthest) patience.progress();
            furthest = std::max(furthest, now.bytes);
            offset = now.bytes;
            known = true;
            if (idle && !patience.wait())
                return fail(ErrorCode::unavailable, "the upload does not get on");
            continue;
        }
        // 409: the other side has other bytes than we thought, or still works on the last part.
        const bool lost = response && known && (response->status == 409 || response->status == 404);
        if (!lost && !is_passing(response)) return response;
        known = false;
        if (!patience.wait()) return response;
    }
}

}  // namespace ledger::rpc
