// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/sealed_blob.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/aes_gcm.hpp"
#include "ledger/crypto/hkdf.hpp"
#include "ledger/crypto/key_wrap.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

using namespace ledger::base;
using namespace ledger::crypto;

namespace {

Bytes hex(const std::string& text) {
    return *parse_hex(text, 4096);
}

Bytes counting(std::uint8_t first, std::uint8_t last) {
    Bytes out;
    for (unsigned i = first; i <= last; ++i)
        out.push_back(static_cast<std::uint8_t>(i));
    return out;
}

std::array<std::uint8_t, 32> key32(const std::string& text) {
    std::array<std::uint8_t, 32> out{};
    const Bytes bytes = hex(text);
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return out;
}

GcmNonce nonce12(const std::string& text) {
    GcmNonce out{};
    const Bytes bytes = hex(text);
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return out;
}

DataKey data_key(std::uint8_t fill) {
    std::array<std::uint8_t, 32> bytes{};
    bytes.fill(fill);
    return DataKey(bytes);
}

PrivateKey small_key(std::uint8_t scalar) {
    Bytes bytes(32);
    bytes.back() = scalar;
    return std::move(*PrivateKey::from_bytes(bytes));
}

Bytes random_text(std::mt19937_64& random, std::size_t size) {
    Bytes out(size);
    for (auto& byte : out)
        byte = static_cast<std::uint8_t>(random());
    return out;
}

const Bytes kContext = hex("00112233");

/// A folder for one test's files.
struct Files {
    std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("millrace-sealed-" + std::to_string(::getpid()));
    Files() { std::filesystem::create_directories(folder); }
    ~Files() { std::filesystem::remove_all(folder); }
    void write(const std::string& name, const Bytes& bytes) const {
        std::ofstream(folder / name, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()));
    }
    [[nodiscard]] Bytes read(const std::string& name) const {
        std::ifstream in(folder / name, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    /// The code `open_file` refuses `sealed` with; nothing may be left then.
    [[nodiscard]] ErrorCode refusal(const Bytes& sealed, const DataKey& key,
                                    ByteView context = kContext) const {
        write("bad", sealed);
        const auto opened = open_file(folder / "bad", folder / "out", key, context);
        REQUIRE_FALSE(opened.has_value());
        CHECK_FALSE(std::filesystem::exists(folder / "out"));
        return opened.error().code();
    }
};

}  // namespace

TEST_CASE("hkdf: RFC 5869 test cases 1 to 3") {
    CHECK(to_hex(hkdf_sha256(Bytes(22, 0x0b), counting(0x00, 0x0c), counting(0xf0, 0xf9), 42)) ==
          "0x3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    CHECK(
        to_hex(hkdf_sha256(counting(0x00, 0x4f), counting(0x60, 0xaf), counting(0xb0, 0xff), 82)) ==
        "0xb11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c6"
        "5e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
    CHECK(to_hex(hkdf_sha256(Bytes(22, 0x0b), {}, {}, 42)) ==
          "0x8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST_CASE("aes_gcm: test cases 13, 14 and 16 of the GCM submission to NIST") {
    const auto zero = key32(std::string(64, '0'));
    CHECK(to_hex(gcm_seal(zero, GcmNonce{}, {}, {})) == "0x530f8afbc74536b9a963b4f1c4cb738b");
    CHECK(to_hex(gcm_seal(zero, GcmNonce{}, Bytes(16), {})) ==
          "0xcea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    const auto key = key32("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    const GcmNonce nonce = nonce12("cafebabefacedbaddecaf888");
    const Bytes plain = hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449"
        "a6b525b16aedf5aa0de657ba637b39");
    const Bytes associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    const Bytes sealed = gcm_seal(key, nonce, plain, associated);
    CHECK(
        to_hex(sealed) ==
        "0x522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
        "56828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
    CHECK(*gcm_open(key, nonce, sealed, associated) == plain);
    CHECK(gcm_open(key, nonce, sealed, {}).error().code() == ErrorCode::data_invalid);
    CHECK(gcm_open(key, nonce, ByteView(sealed).first(15), associated).error().code() ==
          ErrorCode::data_invalid);
    CHECK(gcm_open(zero, GcmNonce{}, hex("530f8afbc74536b9a963b4f1c4cb738b"), {})->empty());
}

TEST_CASE("key_wrap: the shared x is that of the curve, and no other point is taken") {
    // 1·2G and 2·G: x of 2G.
    const std::string two = "0xc6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
    CHECK(to_hex(*shared_x(small_key(1), small_key(2).public_key())) == two);
    CHECK(to_hex(*shared_x(small_key(2), small_key(1).public_key())) == two);
    const PrivateKey a = PrivateKey::generate();
    const PrivateKey b = PrivateKey::generate();
    CHECK(*shared_x(a, b.public_key()) == *shared_x(b, a.public_key()));
    PublicKey off = b.public_key();
    off[63] ^= 1U;
    CHECK(shared_x(a, off).error().code() == ErrorCode::invalid_encoding);
    CHECK(shared_x(a, PublicKey{}).error().code() == ErrorCode::invalid_encoding);
    CHECK(wrap_key(data_key(1), off, kContext).error().code() == ErrorCode::invalid_encoding);
}

TEST_CASE("key_wrap: a signature gives its signer's public key, and no other form of it does") {
    for (int i = 0; i < 20; ++i) {
        const PrivateKey key = PrivateKey::generate();
        const Hash32 digest = personal_digest("message " + std::to_string(i));
        Signature signature = key.sign(digest);
        CHECK(recover_public_key(digest, signature) == key.public_key());
        CHECK(recover_public_key(personal_digest("other"), signature) != key.public_key());
        signature.data()[64] = static_cast<std::uint8_t>(signature.data()[64] - 27);
        CHECK(recover_public_key(digest, signature).error().code() == ErrorCode::invalid_signature);
    }
    Signature zero;
    zero.data()[64] = 27;
    CHECK(recover_public_key(Hash32(), zero).error().code() == ErrorCode::invalid_signature);
}

TEST_CASE("key_wrap: only the recipient opens it, for its purpose only, and no bit may differ") {
    const PrivateKey worker = PrivateKey::generate();
    const DataKey key = DataKey::generate();
    const auto wrapped = wrap_key(key, worker.public_key(), kContext);
    REQUIRE(wrapped);
    CHECK(wrapped->size() == kWrappedKeyBytes);
    CHECK(*wrapped != *wrap_key(key, worker.public_key(), kContext));
    CHECK(unwrap_key(*wrapped, PrivateKey::generate(), kContext).error().code() ==
          ErrorCode::data_invalid);
    CHECK(unwrap_key(*wrapped, worker, hex("00112234")).error().code() == ErrorCode::data_invalid);
    CHECK(unwrap_key(*wrapped, worker, {}).error().code() == ErrorCode::data_invalid);
    for (std::size_t size : {std::size_t{0}, std::size_t{1}, wrapped->size() - 1}) {
        CHECK(unwrap_key(ByteView(*wrapped).first(size), worker, kContext).error().code() ==
              ErrorCode::invalid_encoding);
    }
    for (std::size_t bit = 0; bit < 8 * wrapped->size(); ++bit) {
        Bytes changed = *wrapped;
        changed[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
        CAPTURE(bit);
        CHECK_FALSE(unwrap_key(changed, worker, kContext).has_value());
    }
    const auto opened = unwrap_key(*wrapped, worker, kContext);
    REQUIRE(opened);
    CHECK(std::equal(opened->bytes().begin(), opened->bytes().end(), key.bytes().begin()));
}

TEST_CASE("sealed_blob: every bit of a small sealed file counts") {
    const Files files;
    const DataKey key = data_key(7);
    const Bytes plain = counting(0, 40);
    files.write("plain", plain);
    REQUIRE(seal_file(files.folder / "plain", files.folder / "sealed", key, kContext));
    const Bytes sealed = files.read("sealed");
    CHECK(sealed.size() == sealed_bytes(plain.size()));
    for (std::size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
        Bytes changed = sealed;
        changed[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
        CAPTURE(bit);
        const ErrorCode code = files.refusal(changed, key);
        const ErrorCode expected = bit < 64   ? ErrorCode::invalid_encoding
                                   : bit < 72 ? ErrorCode::unsupported
                                              : ErrorCode::data_invalid;
        CHECK(code == expected);
    }
    for (std::size_t size = 0; size < sealed.size(); ++size) {
        CAPTURE(size);
        (void)files.refusal(Bytes(sealed.begin(), sealed.begin() + static_cast<long>(size)), key);
    }
    CHECK(files.refusal(sealed, data_key(8)) == ErrorCode::data_invalid);
    CHECK(files.refusal(sealed, key, hex("00112234")) == ErrorCode::data_invalid);
    Bytes longer = sealed;
    longer.push_back(0);
    CHECK(files.refusal(longer, key) == ErrorCode::data_invalid);
    CHECK(open_file(files.folder / "none", files.folder / "out", key, kContext).error().code() ==
          ErrorCode::data_missing);
    REQUIRE(open_file(files.folder / "sealed", files.folder / "out", key, kContext));
    CHECK(files.read("out") == plain);
}

TEST_CASE("sealed_blob: files of many sizes come back, sealed twice they differ") {
    const std::uint64_t seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const Files files;
    const DataKey key = DataKey::generate();
    constexpr std::size_t kChunk = kSealedChunkBytes;
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kChunk - 1, kChunk, kChunk + 1,
                                   2 * kChunk, 2 * kChunk + 12'345}) {
        CAPTURE(size);
        const Bytes plain = random_text(random, size);
        files.write("plain", plain);
        REQUIRE(seal_file(files.folder / "plain", files.folder / "sealed", key, kContext));
        const Bytes sealed = files.read("sealed");
        CHECK(sealed.size() == sealed_bytes(size));
        REQUIRE(open_file(files.folder / "sealed", files.folder / "out", key, kContext));
        CHECK(files.read("out") == plain);
        REQUIRE(seal_file(files.folder / "plain", files.folder / "sealed", key, kContext));
        CHECK(files.read("sealed") != sealed);
    }
}

TEST_CASE("sealed_blob: chunks cannot be left out, moved, repeated, or brought from another file") {
    const std::uint64_t seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const Files files;
    const DataKey key = DataKey::generate();
    constexpr std::size_t kSealed = kSealedChunkBytes + kGcmTagBytes;
    const auto seal = [&](const Bytes& plain) {
        files.write("plain", plain);
        REQUIRE(seal_file(files.folder / "plain", files.folder / "sealed", key, kContext));
        return files.read("sealed");
    };
    /// Header and chunks of a sealed file, to be put together anew.
    const auto parts = [](const Bytes& sealed) {
        std::vector<Bytes> out{Bytes(sealed.begin(), sealed.begin() + kSealedHeaderBytes)};
        for (std::size_t at = kSealedHeaderBytes; at < sealed.size(); at += kSealed)
            out.emplace_back(
                sealed.begin() + static_cast<long>(at),
                sealed.begin() + static_cast<long>(std::min(at + kSealed, sealed.size())));
        return out;
    };
    const auto joined = [&](const std::vector<Bytes>& pieces, std::vector<std::size_t> order) {
        Bytes out;
        for (const std::size_t i : order)
            append(out, pieces.at(i));
        return out;
    };
    // Three whole chunks: the last one is as long as the others.
    const Bytes plain = random_text(random, 3 * kSealedChunkBytes);
    const auto mine = parts(seal(plain));
    auto both = mine;
    const auto other = parts(seal(plain));
    both.insert(both.end(), other.begin(), other.end());
    REQUIRE(both.size() == 8);
    const std::vector<std::vector<std::size_t>> wrong{
        {0, 1, 2},        // the end is missing
        {0, 1, 3},        // the middle
        {0, 2, 3},        // the beginning
        {0, 2, 1, 3},     // moved
        {0, 3, 2, 1},     // moved, the last first
        {0, 1, 2, 2},     // repeated in place of the last
        {0, 1, 2, 3, 3},  // repeated at the end
        {0, 1, 1, 2, 3},  // repeated inside
        {0, 1, 6, 3},     // the same chunk of the same text, sealed another time
        {4, 1, 2, 3},     // another header
        {0},              // nothing but the header
    };
    for (const auto& order : wrong) {
        CAPTURE(order.size());
        CHECK(files.refusal(joined(both, order), key) == ErrorCode::data_invalid);
    }
    for (int i = 0; i < 20; ++i) {
        Bytes changed = joined(both, {0, 1, 2, 3});
        const std::size_t bit = random() % (8 * changed.size());
        changed[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
        CAPTURE(bit);
        (void)files.refusal(changed, key);
    }
    files.write("good", joined(both, {0, 1, 2, 3}));
    REQUIRE(open_file(files.folder / "good", files.folder / "out", key, kContext));
    CHECK(files.read("out") == plain);
}
