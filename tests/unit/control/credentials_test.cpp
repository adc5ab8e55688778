// Tests of credentials: which certificates are accepted, and until when.
#include <catch2/catch.hpp>

#include "tests/unit/control/signalling_fixture.h"

using namespace dr;
using namespace dr::control;
using namespace dr::control::test;
using namespace std::chrono_literals;

TEST_CASE("older credentials are accepted until the UR has attached with the new ones") {
    Fixture f;
    const auto first = f.enroll();
    const auto second = f.enroll(true);
    Ur(first).attachment();
    const auto unused = f.enroll();
    const auto third = f.enroll();
    Ur(first).attachment();
    Ur(second).attachment();
    Ur(third).attachment();
    for (const auto& older : {first, second, unused})
        CHECK(Ur(older).refused(v1::Refused::REVOKED));
    // Those that are kept for good outlive what comes after them.
    const auto fourth = f.enroll(true);
    Ur(fourth).attachment();
    Ur(third).attachment();
    // A restart of drd forgets none of it.
    f.drd->end(SIGKILL);
    f.start_drd({});
    CHECK(Ur(first).refused(v1::Refused::REVOKED));
    Ur(fourth).attachment();
}

TEST_CASE("older credentials can be refused at once, and what is accepted can be listed") {
    Fixture f;
    const auto first = f.enroll();
    const auto second = f.enroll();
    const auto list = [&] {
        grpc::ClientContext context;
        v1::ListCredentialsRequest request;
        request.set_subscriber("site-1");
        v1::ListCredentialsResponse out;
        REQUIRE(f.subscribers->ListCredentials(&context, request, &out).ok());
        REQUIRE(out.credentials_size() == 1);
        return out.credentials(0);
    };
    REQUIRE(list().accepted_size() == 2);
    CHECK(list().accepted(0).fingerprint().size() == 64);
    CHECK(list().accepted(0).has_issued());
    CHECK(list().accepted(1).replaces_older());
    grpc::ClientContext context;
    v1::RevokeResponse revoked;
    REQUIRE(f.subscribers->RevokeOlder(&context, Fixture::named(), &revoked).ok());
    CHECK(revoked.certificates() == 1);
    CHECK(Ur(first).refused(v1::Refused::REVOKED));
    Ur ur(second);
    ur.attachment();
    CHECK(list().accepted_size() == 1);
    CHECK(list().accepted(0).in_use());
    CHECK_FALSE(list().has_revoked());
    f.revoke();
    CHECK(list().accepted().empty());
    CHECK(list().has_revoked());
}

TEST_CASE(
    "a prefix around an address of signalling is refused once, however often that was given") {
    Fixture f({"--signalling-name", "198.51.100.1:1", "--signalling-name", "198.51.100.1:2"});
    grpc::ClientContext context;
    v1::Subscriber site = resource(kSite).subscriber();
    site.set_name("site-9");
    site.clear_tunnels();
    site.clear_prefixes();
    site.add_prefixes("198.51.100.0/28");
    const std::string said = f.subscribers->Create(&context, site, &site).error_message();
    const auto first = said.find("an address of signalling");
    INFO(said);
    REQUIRE(first != std::string::npos);
    CHECK(said.find("an address of signalling", first + 1) == std::string::npos);
}
