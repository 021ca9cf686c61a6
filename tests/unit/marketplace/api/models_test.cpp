// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

namespace api_test {
namespace {

/// A market with a blob of weights.
struct Models : Fixture {
    Models() : mine(bearer(publisher)) {
        const std::string bytes = "weights";
        const std::string hash = to_hex(ledger::base::sha256(ledger::base::as_bytes(bytes)));
        const auto stored = client().request("PUT", "/v1/blobs/" + hash, bytes, mine);
        REQUIRE_MESSAGE(stored.status == 201, stored.body);
        spec = *wire::canonicalise(serve_spec(hash, "moby"));
    }
    json publish(const json& body, int status, const std::string& who) {
        return post("/v1/models", body.dump(), status, who);
    }

    const PrivateKey publisher = PrivateKey::generate();
    const std::string mine;
    std::string spec;
};

}  // namespace

TEST_CASE("models: what is no publication is refused") {
    Models f;
    CHECK(f.post("/v1/models", "{}", 400, f.mine)["error"]["code"] == "invalid_request");
    CHECK(f.publish({{"spec", f.spec}, {"public", 1}}, 400, f.mine)["error"]["code"] ==
          "invalid_field");
    CHECK(f.publish({{"spec", f.spec}, {"open", true}}, 400, f.mine)["error"]["code"] ==
          "invalid_request");
    CHECK(f.get("/v1/models")["data"].empty());
    CHECK(f.get("/v1/models/moby/spec", 404)["error"]["code"] == "model_not_found");
}

TEST_CASE("models: a spec is its publisher's until it is published for everybody") {
    Models f;
    const auto stranger = f.bearer(PrivateKey::generate());
    const auto spec_for = [&](const std::string& who) {
        return f.client().request("GET", "/v1/models/moby/spec", "", who);
    };
    CHECK(f.publish({{"spec", f.spec}}, 201, f.mine)["public"] == false);
    CHECK(spec_for("").status == 401);
    CHECK(spec_for(stranger).status == 403);
    CHECK(spec_for(f.mine).body == f.spec);
    // Nobody else opens it.
    f.publish({{"spec", f.spec}, {"public", true}}, 409, stranger);
    CHECK(spec_for(stranger).status == 403);
    CHECK(f.publish({{"spec", f.spec}, {"public", true}}, 201, f.mine)["public"] == true);
    CHECK(f.get("/v1/models/moby")["public"] == true);
    CHECK(f.get("/v1/models")["data"][0]["public"] == true);
    CHECK(spec_for("").body == f.spec);
    CHECK(spec_for(stranger).body == f.spec);
    // And its publisher closes it again; who has read it has read it.
    CHECK(f.publish({{"spec", f.spec}, {"public", false}}, 201, f.mine)["public"] == false);
    CHECK(spec_for(stranger).status == 403);
}

}  // namespace api_test
