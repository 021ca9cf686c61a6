// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/http/router.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace marketplace::api {

/// The built console, read once into memory. Requests are looked up among what was read, so that no
/// path can leave the folder. Constant after `load`: any thread.
class ConsoleFiles {
 public:
    struct File {
        std::string content_type;
        std::string etag;  ///< with its quotes
        std::string bytes;
        std::string gzip;  ///< the same compressed; empty: there is none
    };

    /// Reads `folder`: index.html and what lies in assets/, with NAME.gz beside NAME. At most 256
    /// files and 16 MiB. config_invalid when index.html is missing, a file's kind is unknown or a
    /// bound is passed; links are not followed.
    [[nodiscard]] static ledger::base::Result<ConsoleFiles> load(
        const std::filesystem::path& folder);

    /// "index.html", "assets/app-1234.js"; null when there is none.
    [[nodiscard]] const File* find(std::string_view name) const;

 private:
    std::map<std::string, File, std::less<>> files_;
};

/// Serves the console: its page at "/" and under "/app/", whatever stands there (the page finds its
/// own way), and "/assets/{file}"; the API's documents at "/docs" when docs.html is among the
/// files. `files` outlives the router.
void add_console_routes(http::Router& router, const ConsoleFiles& files);

}  // namespace marketplace::api
