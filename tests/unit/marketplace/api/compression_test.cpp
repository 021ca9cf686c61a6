// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/compression.hpp"

#include <doctest/doctest.h>
#include <zlib.h>

#include <random>

using namespace marketplace;

namespace {

http::Request request_with(const std::string& encoding) {
    http::Request request;
    if (!encoding.empty()) request.headers.emplace_back("Accept-Encoding", encoding);
    return request;
}

/// What zlib itself makes of it.
std::string inflated(const std::string& zipped, std::size_t size) {
    z_stream stream{};
    REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
    std::string out(size + 1, '\0');
    std::string in = zipped;
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(stream.total_out);
    inflateEnd(&stream);
    return out;
}

}  // namespace

TEST_CASE("compression: only to clients that take gzip") {
    for (const char* no :
         {"", "br", "gzip;q=0", "gzip; q=0.000", "deflate, gzip;q=0, *", "*;q=0", "gzipped", "x"})
        CHECK_FALSE(api::accepts_gzip(request_with(no)));
    for (const char* yes : {"gzip", "GZIP", "br, gzip", "gzip;q=0.5", "*", "br;q=1, *;q=0.1",
                            "x-gzip", "deflate ,\tgzip ; q=1"})
        CHECK(api::accepts_gzip(request_with(yes)));
}

TEST_CASE("compression: only what is text, in memory, of some size, and no secret") {
    const auto request = request_with("gzip");
    const auto answer = [](std::size_t bytes, const char* type = "application/json") {
        return http::Response(200, type, std::string(bytes, 'a'));
    };
    CHECK(api::wants_gzip(request, answer(api::kGzipBytesMin)));
    CHECK(api::wants_gzip(request, answer(api::kGzipBytesMax)));
    CHECK(api::wants_gzip(request, answer(5000, "application/problem+json")));
    CHECK(api::wants_gzip(request, answer(5000, "text/plain; version=0.0.4")));
    CHECK_FALSE(api::wants_gzip(request, answer(api::kGzipBytesMin - 1)));
    CHECK_FALSE(api::wants_gzip(request, answer(api::kGzipBytesMax + 1)));
    CHECK_FALSE(api::wants_gzip(request, answer(5000, "application/octet-stream")));
    CHECK_FALSE(api::wants_gzip(request_with("br"), answer(5000)));
    auto secret = answer(5000);
    secret.header("cache-control", "no-store");
    CHECK_FALSE(api::wants_gzip(request, secret));
    auto done = answer(5000);
    done.header("content-encoding", "gzip");
    CHECK_FALSE(api::wants_gzip(request, done));
    auto tagged = answer(5000);
    tagged.header("etag", "\"one\"");
    CHECK_FALSE(api::wants_gzip(request, tagged));
    auto stream = http::Response::events(std::make_shared<http::StreamBody>());
    CHECK_FALSE(api::wants_gzip(request, stream));
}

TEST_CASE("compression: what comes out is what went in") {
    std::mt19937 random(7);  // the seed
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{5000}, api::kGzipBytesMax}) {
        std::string text(size, '\0');
        for (char& c : text)
            c = static_cast<char>(random());
        const auto zipped = api::gzip(text);
        REQUIRE(zipped.has_value());
        CHECK(inflated(*zipped, size) == text);
    }
    const std::string same(api::kGzipBytesMax, 'a');
    CHECK(api::gzip(same)->size() < same.size() / 100);
}
