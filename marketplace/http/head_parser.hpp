// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/request.hpp"

#include <boost/beast/http/basic_parser.hpp>

#include <cstdint>
#include <string>

namespace marketplace::http {

/// Reads one request head straight into a Request with Beast's grammar, and refuses what Beast
/// 1.81 lets through: no or several Host, any Transfer-Encoding, several Content-Length, too many
/// fields. The body is read by the connection (its length is known).
class HeadParser final : public boost::beast::http::basic_parser<true> {
 public:
    explicit HeadParser(Request& request);

    /// After the head: 0 when it is fine, else the status to refuse with and why.
    [[nodiscard]] int refused_status() const noexcept { return status_; }
    [[nodiscard]] const char* refused_reason() const noexcept { return reason_; }
    [[nodiscard]] bool is_http_1_1() const noexcept { return http_1_1_; }
    [[nodiscard]] bool expects_continue() const noexcept { return expects_continue_; }
    [[nodiscard]] bool wants_websocket() const noexcept { return wants_websocket_; }

 private:
    using error_code = boost::beast::error_code;
    using string_view = boost::beast::string_view;
    using field = boost::beast::http::field;

    void on_request_impl(boost::beast::http::verb method, string_view method_text,
                         string_view target, int version, error_code& ec) override;
    void on_field_impl(field name, string_view name_text, string_view value,
                       error_code& ec) override;
    void on_header_impl(error_code& ec) override;
    void on_response_impl(int, string_view, int, error_code&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
    std::size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
    void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override {
        return body.size();
    }
    void on_finish_impl(error_code&) override {}

    void refuse(int status, const char* reason) noexcept;
    void split_target();

    Request& request_;
    int status_ = 0;
    const char* reason_ = "";
    std::size_t hosts_ = 0;
    std::size_t lengths_ = 0;
    bool http_1_1_ = true;
    bool expects_continue_ = false;
    bool wants_websocket_ = false;
};

}  // namespace marketplace::http
