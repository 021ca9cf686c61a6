// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/key_store.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/crypto/keccak.hpp"

#include <cryptopp/scrypt.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace ledger::crypto {
namespace {

using base::ErrorCode;
using base::fail;
using nlohmann::json;

constexpr std::size_t kMaxFileBytes = 16 * 1024;

struct ScryptCost {
    std::uint64_t n = 0;
    std::uint64_t r = 8;
    std::uint64_t p = 1;
};

constexpr ScryptCost kStandard{1ULL << 18, 8, 1};
constexpr ScryptCost kLight{1ULL << 12, 8, 6};
constexpr std::uint64_t kMaxN = 1ULL << 18;

// Crypto++, because OpenSSL refuses the published test vector (N >= 2^(16 r)).
base::Bytes derive(std::string_view password, base::ByteView salt, const ScryptCost& cost) {
    base::Bytes key(32);
    const base::ByteView secret = base::as_bytes(password);
    CryptoPP::Scrypt().DeriveKey(key.data(), key.size(), secret.data(), secret.size(), salt.data(),
                                 salt.size(), cost.n, cost.r, cost.p);
    return key;
}

// AES-128-CTR is its own inverse.
base::Bytes aes_ctr(base::ByteView key, base::ByteView iv, base::ByteView input) {
    const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> ctx(EVP_CIPHER_CTX_new(),
                                                                              &EVP_CIPHER_CTX_free);
    base::Bytes out(input.size());
    int size = 0;
    MR_CHECK(EVP_EncryptInit_ex(ctx.get(), EVP_aes_128_ctr(), nullptr, key.data(), iv.data()) == 1);
    MR_CHECK(EVP_EncryptUpdate(ctx.get(), out.data(), &size, input.data(),
                               static_cast<int>(input.size())) == 1);
    return out;
}

base::Hash32 mac_of(base::ByteView derived, base::ByteView ciphertext) {
    base::Bytes bytes(derived.begin() + 16, derived.end());
    base::append(bytes, ciphertext);
    return keccak256(bytes);
}

std::string plain_hex(base::ByteView bytes) {
    return base::to_hex(bytes).substr(2);
}

tl::unexpected<base::Error> malformed(const char* field) {
    return fail(ErrorCode::invalid_encoding, std::string("key file: bad field ") + field);
}

// A member by reference: a copy of a deeply nested value would exhaust the stack.
const json& member(const json& object, const char* name) {
    static const json kAbsent;
    const auto found = object.find(name);
    return found == object.end() ? kAbsent : *found;
}

base::Result<base::Bytes> hex_field(const json& object, const char* name, std::size_t size) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_string()) return malformed(name);
    auto bytes = base::parse_hex(found->get_ref<const std::string&>(), 64);
    if (!bytes || (size != 0 && bytes->size() != size)) return malformed(name);
    return bytes;
}

base::Result<std::uint64_t> number_field(const json& object, const char* name, std::uint64_t max) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_number_unsigned()) return malformed(name);
    const auto value = found->get<std::uint64_t>();
    if (value == 0 || value > max)
        return fail(ErrorCode::out_of_range, std::string("key file: cost ") + name);
    return value;
}

base::Result<ScryptCost> read_cost(const json& params) {
    ScryptCost cost;
    TRY_ASSIGN(cost.n, number_field(params, "n", kMaxN));
    TRY_ASSIGN(cost.r, number_field(params, "r", 8));
    TRY_ASSIGN(cost.p, number_field(params, "p", 8));
    TRY_ASSIGN(const std::uint64_t dklen, number_field(params, "dklen", 32));
    if (dklen != 32) return fail(ErrorCode::out_of_range, "key file: dklen must be 32");
    if (cost.n < 2 || (cost.n & (cost.n - 1)) != 0)
        return fail(ErrorCode::out_of_range, "key file: n must be a power of two");
    return cost;
}

}  // namespace

std::string encrypt_key(const PrivateKey& key, std::string_view password, KeyStoreCost cost_kind) {
    const ScryptCost cost = cost_kind == KeyStoreCost::kStandard ? kStandard : kLight;
    const base::Bytes salt = random_bytes(32);
    const base::Bytes iv = random_bytes(16);
    base::Bytes derived = derive(password, salt, cost);
    const base::Bytes cipher = aes_ctr(base::ByteView(derived).first(16), iv, key.secret());
    const base::Hash32 mac = mac_of(derived, cipher);
    OPENSSL_cleanse(derived.data(), derived.size());

    base::Bytes id = random_bytes(16);
    id[6] = static_cast<std::uint8_t>((id[6] & 0x0f) | 0x40);  // UUID version 4, RFC 4122
    id[8] = static_cast<std::uint8_t>((id[8] & 0x3f) | 0x80);
    std::string uuid = plain_hex(id);
    for (const std::size_t at : {8U, 13U, 18U, 23U})
        uuid.insert(at, 1, '-');

    json document;
    document["version"] = 3;
    document["id"] = uuid;
    document["address"] = base::to_hex(key.address()).substr(2);
    json& crypto = document["crypto"];
    crypto["cipher"] = "aes-128-ctr";
    crypto["cipherparams"]["iv"] = plain_hex(iv);
    crypto["ciphertext"] = plain_hex(cipher);
    crypto["kdf"] = "scrypt";
    crypto["kdfparams"]["n"] = cost.n;
    crypto["kdfparams"]["r"] = cost.r;
    crypto["kdfparams"]["p"] = cost.p;
    crypto["kdfparams"]["dklen"] = 32;
    crypto["kdfparams"]["salt"] = plain_hex(salt);
    crypto["mac"] = base::to_hex(mac).substr(2);
    return document.dump(2) + "\n";
}

base::Result<PrivateKey> decrypt_key(std::string_view document, std::string_view password) {
    if (document.size() > kMaxFileBytes) return fail(ErrorCode::too_large, "key file over 16 KiB");
    // Deep nesting cannot hurt below: 16 KiB parse, and nothing is copied or dumped.
    const json root = json::parse(document, nullptr, false);
    if (!root.is_object()) return fail(ErrorCode::invalid_encoding, "key file: not a JSON object");
    if (member(root, "version") != 3) return malformed("version");
    const json& crypto = member(root, root.contains("crypto") ? "crypto" : "Crypto");
    if (!crypto.is_object()) return malformed("crypto");
    if (member(crypto, "cipher") != "aes-128-ctr") return malformed("cipher");
    if (member(crypto, "kdf") != "scrypt")
        return fail(ErrorCode::unsupported, "key file: kdf must be scrypt");
    const json& params = member(crypto, "kdfparams");
    const json& cipher_params = member(crypto, "cipherparams");
    if (!params.is_object()) return malformed("kdfparams");
    if (!cipher_params.is_object()) return malformed("cipherparams");

    TRY_ASSIGN(const ScryptCost cost, read_cost(params));
    TRY_ASSIGN(const base::Bytes salt, hex_field(params, "salt", 0));
    TRY_ASSIGN(const base::Bytes iv, hex_field(cipher_params, "iv", 16));
    TRY_ASSIGN(const base::Bytes cipher, hex_field(crypto, "ciphertext", 32));
    TRY_ASSIGN(const base::Bytes mac, hex_field(crypto, "mac", 32));

    base::Bytes derived = derive(password, salt, cost);
    const base::Hash32 actual = mac_of(derived, cipher);
    if (CRYPTO_memcmp(actual.data(), mac.data(), mac.size()) != 0)
        return fail(ErrorCode::forbidden, "wrong password for this key file");
    base::Bytes secret = aes_ctr(base::ByteView(derived).first(16), iv, cipher);
    auto key = PrivateKey::from_bytes(secret);
    OPENSSL_cleanse(secret.data(), secret.size());
    OPENSSL_cleanse(derived.data(), derived.size());
    TRY(key);

    // A file whose stated address is another key's would make us sign with the wrong one.
    if (const auto stated = root.find("address"); stated != root.end()) {
        if (!stated->is_string()) return malformed("address");
        const auto address =
            base::parse_fixed<base::Address>(stated->get_ref<const std::string&>());
        if (!address || *address != key->address()) return malformed("address");
    }
    return key;
}

namespace {

base::Result<std::string> read_document(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(ErrorCode::not_found, "key file " + path.filename().string());
    std::string text(kMaxFileBytes + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    return text;
}

void sync_folder(const std::filesystem::path& folder) {
    const int fd =
        ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    ::fsync(fd);
    ::close(fd);
}

/// Puts the key into place whole or not at all, once what was written opens again.
base::Result<void> replace_key_file(const std::filesystem::path& path, const PrivateKey& key,
                                    std::string_view password, KeyStoreCost cost, mode_t mode) {
    const std::string name = path.filename().string();
    const std::string document = encrypt_key(key, password, cost);
    const std::filesystem::path temporary = path.string() + ".tmp";
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return fail(ErrorCode::io_error, "cannot write " + name);
    const bool written =
        ::fchmod(fd, mode) == 0 &&
        ::write(fd, document.data(), document.size()) == static_cast<ssize_t>(document.size()) &&
        ::fsync(fd) == 0;
    ::close(fd);
    const auto put = [&]() -> base::Result<void> {
        if (!written) return fail(ErrorCode::io_error, "cannot write " + name);
        TRY_ASSIGN(const PrivateKey reread, read_key_file(temporary, password));
        if (reread.address() != key.address())
            return fail(ErrorCode::io_error, "the key file does not read back");
        if (::rename(temporary.c_str(), path.c_str()) != 0)
            return fail(ErrorCode::io_error, "cannot rename " + name);
        return {};
    };
    const auto done = put();
    if (!done) ::unlink(temporary.c_str());
    sync_folder(path.parent_path());
    return done;
}

}  // namespace

base::Result<PrivateKey> read_key_file(const std::filesystem::path& path,
                                       std::string_view password) {
    TRY_ASSIGN(const std::string document, read_document(path));
    return decrypt_key(document, password);
}

base::Result<void> write_key_file(const std::filesystem::path& path, const PrivateKey& key,
                                  std::string_view password, KeyStoreCost cost) {
    if (std::filesystem::exists(path))
        return fail(ErrorCode::wrong_state, "key file exists: " + path.filename().string());
    return replace_key_file(path, key, password, cost, 0600);
}

base::Result<void> change_password(const std::filesystem::path& path, std::string_view old_password,
                                   std::string_view new_password) {
    TRY_ASSIGN(const std::string document, read_document(path));
    TRY_ASSIGN(const PrivateKey key, decrypt_key(document, old_password));
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0)
        return fail(ErrorCode::io_error, "cannot read " + path.filename().string());
    // Foreign files may have any cost: the strong one is never less than theirs.
    const json root = json::parse(document);
    const json& params =
        member(member(root, root.contains("crypto") ? "crypto" : "Crypto"), "kdfparams");
    const bool light = member(params, "n") == kLight.n;
    return replace_key_file(path, key, new_password,
                            light ? KeyStoreCost::kLight : KeyStoreCost::kStandard,
                            info.st_mode & 07777U);
}

}  // namespace ledger::crypto
