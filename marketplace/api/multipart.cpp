// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/multipart.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>

namespace marketplace::api {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kPartsMax = 32;
constexpr std::size_t kHeadMax = 8192;
constexpr std::size_t kBoundaryMax = 70;  // RFC 2046
constexpr std::size_t kNameMax = 255;

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

/// The value of `; name=value` or `; name="value"` in a header's value. What is quoted is passed
/// over as a whole: it may hold anything.
std::optional<std::string> parameter(std::string_view header, std::string_view name) {
    std::size_t at = std::min(header.find(';'), header.size());
    while (at < header.size()) {
        at = std::min(header.find_first_not_of("; \t", at), header.size());
        const std::size_t equals = std::min(header.find('=', at), header.size());
        const std::string found = lower(header.substr(at, equals - at));
        at = equals + 1;
        std::string value;
        if (at < header.size() && header[at] == '"') {
            for (++at; at < header.size() && header[at] != '"'; ++at) {
                if (header[at] == '\\' && at + 1 < header.size()) ++at;
                value += header[at];
            }
            ++at;
        } else if (at < header.size()) {
            const std::size_t end = std::min(header.find_first_of("; \t", at), header.size());
            value = header.substr(at, end - at);
            at = end;
        }
        if (found == name) return value;
    }
    return std::nullopt;
}

/// Name and file name from the head of a part.
Result<FormPart> read_head(std::string_view head) {
    FormPart out;
    bool named = false;
    while (!head.empty()) {
        const std::size_t size = std::min(head.find("\r\n"), head.size());
        const std::string_view line = head.substr(0, size);
        head.remove_prefix(std::min(size + 2, head.size()));
        if (!lower(line).starts_with("content-disposition:")) continue;
        const auto name = parameter(line, "name");
        if (!name || name->size() > kNameMax) break;
        out.name = *name;
        out.filename = parameter(line, "filename");
        if (out.filename) out.filename->resize(std::min(out.filename->size(), kNameMax));
        named = true;
    }
    if (!named) return fail(ErrorCode::invalid_request, "a part of the form has no name");
    return out;
}

}  // namespace

Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body) {
    if (!lower(content_type).starts_with("multipart/form-data"))
        return fail(ErrorCode::invalid_request, "send multipart/form-data");
    const auto boundary = parameter(content_type, "boundary");
    if (!boundary || boundary->empty() || boundary->size() > kBoundaryMax)
        return fail(ErrorCode::invalid_request, "the content type has no boundary");
    const std::string mark = "--" + *boundary;
    if (!body.starts_with(mark)) return fail(ErrorCode::invalid_request, "the form does not begin");
    body.remove_prefix(mark.size());
    const std::string next = "\r\n" + mark;
    std::vector<FormPart> out;
    while (!body.starts_with("--")) {
        if (!body.starts_with("\r\n") || out.size() == kPartsMax)
            return fail(ErrorCode::invalid_request,
                        "the form is broken, or has more than 32 parts");
        body.remove_prefix(2);
        const std::size_t head = body.substr(0, kHeadMax).find("\r\n\r\n");
        if (head == body.npos)
            return fail(ErrorCode::invalid_request, "a part of the form has no end of its head");
        TRY_ASSIGN(FormPart part, read_head(body.substr(0, head + 2)));
        body.remove_prefix(head + 4);
        const std::size_t size = body.find(next);
        if (size == body.npos) return fail(ErrorCode::invalid_request, "the form is cut off");
        part.content = body.substr(0, size);
        out.push_back(std::move(part));
        body.remove_prefix(size + next.size());
    }
    return out;
}

}  // namespace marketplace::api
