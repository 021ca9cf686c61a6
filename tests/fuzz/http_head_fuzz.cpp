// SPDX-License-Identifier: Apache-2.0
// A request head that is let through obeys every limit, and reads the same in one piece or in two.
#include "ledger/base/check.hpp"
#include "ledger/base/limits.hpp"
#include "marketplace/http/head_parser.hpp"

#include <boost/asio/buffer.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace asio = boost::asio;
namespace bhttp = boost::beast::http;
namespace limits = ledger::base::limits;
using marketplace::http::HeadParser;
using marketplace::http::Request;

namespace {

struct Head {
    Request request;
    int status = 0;  ///< 0 when it was let through, -1 when it is malformed or not at its end
};

Head read(std::string_view text, std::size_t first_piece) {
    Head head;
    HeadParser parser(head.request);
    std::size_t used = 0;
    std::size_t given = first_piece;
    while (!parser.is_header_done()) {
        boost::beast::error_code error;
        used += parser.put(asio::buffer(text.data() + used, given - used), error);
        MR_CHECK(used <= given);
        const bool wants_more = error == bhttp::error::need_more && given < text.size();
        if (error && !wants_more) {
            head.status = -1;
            return head;
        }
        if (!parser.is_header_done()) given = text.size();
    }
    head.status = parser.refused_status();
    return head;
}

void check_limits(const Request& request) {
    MR_CHECK(request.headers.size() <= limits::kHttpHeaderFields);
    MR_CHECK(request.header("host").has_value());
    MR_CHECK(!request.header("transfer-encoding").has_value());
    MR_CHECK(request.path.starts_with('/') || request.path == "*");
    std::size_t hosts = 0;
    for (const auto& [name, value] : request.headers) {
        hosts += name.size() == 4 && Request{.headers = {{name, ""}}}.header("host") ? 1U : 0U;
        MR_CHECK(value.find_first_of("\r\n") == std::string::npos);
    }
    MR_CHECK(hosts == 1);
    for (const char c : request.path + request.query)
        MR_CHECK(c > ' ' && c < '\x7f' && c != '#');
    static_cast<void>(request.query_values());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    const Head whole = read(text, text.size());
    const Head split = read(text, data[0] % text.size());
    MR_CHECK(whole.status == split.status);
    if (whole.status != 0) return 0;
    MR_CHECK(whole.request.target == split.request.target);
    MR_CHECK(whole.request.headers == split.request.headers);
    MR_CHECK(whole.request.content_length == split.request.content_length);
    check_limits(whole.request);
    return 0;
}
