// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/status_file.hpp"

#include "ledger/base/clock.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <fstream>

namespace worker::agent {

void write_status_file(const std::filesystem::path& data, std::string_view state,
                       std::string_view market, const Identity& identity,
                       const std::vector<SessionStatus>& sessions, const ModelMemory& models) {
    nlohmann::json list = nlohmann::json::array();
    for (const SessionStatus& session : sessions)
        list.push_back({{"lease", ledger::base::to_hex(session.lease)},
                        {"job", session.job},
                        {"unit_kind", session.kind},
                        {"active", session.active}});
    nlohmann::json served = nlohmann::json::array();
    for (const ModelMemory::Status& model : models.status())
        served.push_back({{"lease", ledger::base::to_hex(model.key)},
                          {"name", model.name},
                          {"state", std::string(to_string(model.state))},
                          {"memory_mib", model.bytes >> 20U},
                          {"why", model.why}});
    const nlohmann::json document{{"state", std::string(state)},
                                  {"market", std::string(market)},
                                  {"worker", ledger::base::to_hex(identity.worker)},
                                  {"provider", ledger::base::to_hex(identity.provider)},
                                  {"pid", static_cast<std::uint64_t>(::getpid())},
                                  {"time_ms", ledger::base::SystemClock().now_ms()},
                                  {"sessions", std::move(list)},
                                  {"models", std::move(served)},
                                  {"models_memory_mib", models.budget_bytes() >> 20U}};
    const std::filesystem::path path = data / "status.json";
    const std::filesystem::path temporary = data / "status.json.tmp";
    {
        std::ofstream out(temporary, std::ios::trunc);
        out << ledger::rpc::to_text(document) << '\n';
        if (!out) return;
    }
    std::error_code ignored;
    std::filesystem::rename(temporary, path, ignored);
}

}  // namespace worker::agent
