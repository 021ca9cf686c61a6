// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/commands.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/key_store.hpp"
#include "ledger/eth/upto_permit.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/signer/server.hpp"

#include <CLI/CLI.hpp>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

namespace ledger::signer {

using base::ErrorCode;
using base::fail;
using base::Result;

namespace {

constexpr std::size_t kKeysMax = 64;

struct Options {
    std::string socket;
    std::string keystore;
    std::string state;
    std::string policy;
    std::string password_file;
    std::string password_env;
    std::string new_password_file;
    std::string new_password_env;
    std::string address;
    std::string secret_env;
    std::string deployment;
    std::string delegate;
    std::uint64_t per_lease = 1'000'000'000;
    std::uint64_t per_provider = 5'000'000'000;
    std::uint64_t per_day = 10'000'000'000;
    bool x402 = false;
    std::string x402_proxy = crypto::to_checksum(eth::kUptoProxy);
    bool light = false;
};

Result<std::string> read_text(const std::string& path, std::size_t most) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(ErrorCode::data_missing, path);
    std::string text(most + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > most) return fail(ErrorCode::too_large, path);
    return text;
}

Result<std::string> from_environment(const std::string& name) {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return fail(ErrorCode::config_invalid, "no environment variable " + name);
    return std::string(value);
}

/// Never from the arguments: they can be read by every user of the machine.
Result<std::string> read_password(const std::string& file, const std::string& env,
                                  const std::string& option) {
    if (file.empty() == env.empty())
        return fail(ErrorCode::config_invalid,
                    "give one of --" + option + "-file and --" + option + "-env");
    if (!env.empty()) return from_environment(env);
    TRY_ASSIGN(std::string text, read_text(file, 1024));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
        text.pop_back();
    return text;
}

Result<std::string> read_password(const Options& options) {
    return read_password(options.password_file, options.password_env, "password");
}

/// The key files of the folder, in the order of their names.
Result<std::vector<std::filesystem::path>> key_files(const Options& options) {
    std::vector<std::filesystem::path> files;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(options.keystore, failed)) {
        if (entry.path().extension() != ".json") continue;
        if (files.size() >= kKeysMax) return fail(ErrorCode::too_large, "64 keys at most");
        files.push_back(entry.path());
    }
    if (failed || files.empty())
        return fail(ErrorCode::data_missing,
                    "no key files in " + options.keystore + "; make one with new-key");
    std::sort(files.begin(), files.end());
    return files;
}

Result<std::vector<crypto::PrivateKey>> read_keys(const Options& options) {
    TRY_ASSIGN(const std::string password, read_password(options));
    TRY_ASSIGN(const auto files, key_files(options));
    std::vector<crypto::PrivateKey> keys;
    for (const auto& file : files) {
        auto key = crypto::read_key_file(file, password);
        if (!key)
            return fail(key.error().code(), file.filename().string() + ": " + key.error().detail());
        keys.push_back(std::move(*key));
    }
    return keys;
}

/// Nothing of this process may land on a disk.
void close_up() {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

Result<void> run(const Options& options) {
    close_up();
    // Blocked before any thread exists; read from a descriptor beside the sockets.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &signals, nullptr);
    const int stop = ::signalfd(-1, &signals, SFD_CLOEXEC);
    if (stop < 0) return fail(ErrorCode::io_error, "signalfd");
    TRY_ASSIGN(Policy policy, read_policy(options.policy));
    TRY_ASSIGN(SignatureLog log, SignatureLog::open(options.state));
    TRY_ASSIGN(std::vector<crypto::PrivateKey> keys, read_keys(options));
    const base::SystemClock clock;
    SignerService service(std::move(keys), std::move(policy), std::move(log), clock);
    TRY_ASSIGN(Server server, Server::listen(options.socket));
    std::cout << "millrace-signer ready at " << options.socket << std::endl;
    return server.run(service, stop);
}

Result<void> write_key(const Options& options, const crypto::PrivateKey& key) {
    TRY_ASSIGN(const std::string password, read_password(options));
    std::error_code ignored;
    std::filesystem::create_directories(options.keystore, ignored);
    const std::string address = base::to_hex(key.address());
    const std::filesystem::path path =
        std::filesystem::path(options.keystore) / (address.substr(2) + ".json");
    if (std::filesystem::exists(path)) return fail(ErrorCode::exists_with_different_body, address);
    TRY(crypto::write_key_file(
        path, key, password,
        options.light ? crypto::KeyStoreCost::kLight : crypto::KeyStoreCost::kStandard));
    std::cout << crypto::to_checksum(key.address()) << std::endl;
    return {};
}

Result<void> new_key(const Options& options) {
    return write_key(options, crypto::PrivateKey::generate());
}

Result<void> import_key(const Options& options) {
    TRY_ASSIGN(const std::string text, from_environment(options.secret_env));
    TRY_ASSIGN(const base::Bytes secret, base::parse_hex(text, 32));
    TRY_ASSIGN(const crypto::PrivateKey key, crypto::PrivateKey::from_bytes(secret));
    return write_key(options, key);
}

/// Of one key, or of all in the folder. Those that have the new password already stay as they are,
/// so that a run that was cut can be repeated.
Result<void> change_password(const Options& options) {
    close_up();
    TRY_ASSIGN(const std::string before, read_password(options));
    TRY_ASSIGN(const std::string after,
               read_password(options.new_password_file, options.new_password_env, "new-password"));
    if (after.empty()) return fail(ErrorCode::config_invalid, "the new password is empty");
    std::string wanted;
    if (!options.address.empty()) {
        TRY_ASSIGN(const base::Address address, crypto::parse_address(options.address));
        wanted = base::to_hex(address).substr(2) + ".json";
    }
    TRY_ASSIGN(const auto files, key_files(options));
    std::size_t changed = 0;
    for (const auto& file : files) {
        const std::string name = file.filename().string();
        if (!wanted.empty() && name != wanted) continue;
        auto done = crypto::change_password(file, before, after);
        if (!done &&
            (done.error().code() != ErrorCode::forbidden || !crypto::read_key_file(file, after)))
            return fail(done.error().code(), name + ": " + done.error().detail());
        ++changed;
        std::cout << (done ? "changed " : "had it already ") << name << std::endl;
    }
    if (changed == 0) return fail(ErrorCode::data_missing, "no key file of " + options.address);
    return {};
}

Result<base::Address> address_in(const nlohmann::json& document, const char* name) {
    TRY_ASSIGN(const std::string text, rpc::string_at(document, name));
    return crypto::parse_address(text);
}

Result<void> print_policy(const Options& options) {
    TRY_ASSIGN(const std::string text, read_text(options.deployment, 64 * 1024));
    TRY_ASSIGN(const auto document, rpc::parse_json(text));
    PolicyTemplate values;
    TRY_ASSIGN(values.chain_id, rpc::integer_at(document, "chain_id"));
    TRY_ASSIGN(values.leases, address_in(document, "leases"));
    TRY_ASSIGN(values.receipt_log, address_in(document, "receipt_log"));
    TRY_ASSIGN(values.market_operator, address_in(document, "operator"));
    TRY_ASSIGN(values.delegate, crypto::parse_address(options.delegate));
    values.voucher_atoms_per_lease = options.per_lease;
    values.voucher_atoms_per_provider = options.per_provider;
    values.voucher_atoms_per_day = options.per_day;
    if (options.x402) {
        TRY_ASSIGN(values.token, address_in(document, "token"));
        TRY_ASSIGN(values.upto_proxy, crypto::parse_address(options.x402_proxy));
    }
    std::cout << make_policy_text(values);
    return {};
}

void add_key_options(CLI::App& command, Options& options) {
    command.add_option("--keystore", options.keystore, "folder of key files")->required();
    command.add_option("--password-file", options.password_file, "file with the password");
    command.add_option("--password-env", options.password_env,
                       "environment variable with the password");
}

}  // namespace

int run_program(int argc, const char* const* argv) {
    CLI::App app("Keeps the market's keys and signs what its policy allows", "millrace-signer");
    app.require_subcommand(1);
    Options options;
    Result<void> (*chosen)(const Options&) = nullptr;

    CLI::App* serve = app.add_subcommand("run", "serve the socket until SIGTERM");
    add_key_options(*serve, options);
    serve->add_option("--socket", options.socket, "unix socket to listen on")->required();
    serve->add_option("--state", options.state, "folder of what was signed")->required();
    serve->add_option("--policy", options.policy, "policy file (TOML)")->required();
    serve->callback([&] { chosen = run; });

    CLI::App* make = app.add_subcommand("new-key", "make a key and print its address");
    add_key_options(*make, options);
    make->add_flag("--light", options.light, "cheap key file, for tests and demos");
    make->callback([&] { chosen = new_key; });

    CLI::App* import_one = app.add_subcommand("import-key", "store a key given in the environment");
    add_key_options(*import_one, options);
    import_one->add_option("--secret-env", options.secret_env, "variable with 0x and 64 digits")
        ->required();
    import_one->add_flag("--light", options.light, "cheap key file, for tests and demos");
    import_one->callback([&] { chosen = import_key; });

    CLI::App* change =
        app.add_subcommand("change-password", "give key files another password; stop `run` first");
    add_key_options(*change, options);
    change->add_option("--new-password-file", options.new_password_file,
                       "file with the new password");
    change->add_option("--new-password-env", options.new_password_env,
                       "environment variable with the new password");
    change->add_option("--address", options.address, "only this key (default: all)");
    change->callback([&] { chosen = change_password; });

    CLI::App* policy = app.add_subcommand("policy", "print the policy of a market");
    policy->add_option("--deployment", options.deployment, "deployment file")->required();
    policy->add_option("--delegate", options.delegate, "account that signs vouchers")->required();
    policy->add_option("--atoms-per-lease", options.per_lease, "most one lease may total");
    policy->add_option("--atoms-per-provider", options.per_provider,
                       "most vouchers for one provider may add in a day");
    policy->add_option("--atoms-per-day", options.per_day, "most all vouchers may add in a day");
    policy->add_flag("--x402", options.x402,
                     "also hand in transfers of the token that their holders signed");
    policy->add_option("--x402-proxy", options.x402_proxy,
                       "contract that takes payments up to an amount (default: the public one)");
    policy->callback([&] { chosen = print_policy; });

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error);
    }
    const Result<void> done = chosen(options);
    if (done) return 0;
    std::cerr << "millrace-signer: " << done.error().message() << std::endl;
    return 1;
}

}  // namespace ledger::signer
