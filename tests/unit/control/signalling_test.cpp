// Signalling from end to end: the real drd, TLS on loopback, and the UR's client. DRD_EXE names the
// program.
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <fstream>

#include "tests/unit/control/signalling_fixture.h"
#include "ur/signalling/stream.h"

namespace dr::control::test {
namespace {

// The DR's own certificate with other dates, signed again by its CA.
void write_certificate(const TemporaryFolder& folder, const char* not_before,
                       const char* not_after) {
    const auto ca = pki::Authority::open(folder.file(""));
    const pki::Issued issued = ca.issue_server({"127.0.0.1"});
    const auto certificate = pki::parse_certificates(issued.certificate).front();
    ASN1_TIME_set_string(X509_getm_notBefore(certificate.get()), not_before);
    ASN1_TIME_set_string(X509_getm_notAfter(certificate.get()), not_after);
    std::FILE* file = std::fopen(folder.file("ca-key.pem").c_str(), "r");
    REQUIRE(file != nullptr);
    EVP_PKEY* key = PEM_read_PrivateKey(file, nullptr, nullptr, nullptr);
    std::fclose(file);
    REQUIRE(X509_sign(certificate.get(), key, EVP_sha256()) > 0);
    EVP_PKEY_free(key);
    std::ofstream(folder.file("dr.pem")) << certificate.pem();
    std::ofstream(folder.file("dr.key")) << issued.private_key;
}

// Whether a TLS handshake with drd succeeds when the client speaks `version` alone.
bool handshake(int port, const v1::Credentials& credentials, int version) {
    std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_client_method()),
                                                         SSL_CTX_free);
    SSL_CTX_set_min_proto_version(context.get(), version);
    SSL_CTX_set_max_proto_version(context.get(), version);
    const auto certificate = pki::parse_certificates(credentials.certificate()).front();
    SSL_CTX_use_certificate(context.get(), certificate.get());
    BIO* text = BIO_new_mem_buf(credentials.private_key().data(),
                                static_cast<int>(credentials.private_key().size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(text, nullptr, nullptr, nullptr);
    SSL_CTX_use_PrivateKey(context.get(), key);
    EVP_PKEY_free(key);
    BIO_free(text);
    std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context.get()), SSL_free);
    const unsigned char alpn[] = {2, 'h', '2'};
    SSL_set_alpn_protos(ssl.get(), alpn, sizeof alpn);
    const FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(port);
    REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    SSL_set_fd(ssl.get(), fd.get());
    return SSL_connect(ssl.get()) == 1;
}

}  // namespace

TEST_CASE("an enrolled UR attaches and gets prefixes, policy, tunnels and their keys") {
    Fixture f;
    const auto credentials = f.enroll();
    CHECK(credentials.subscriber() == "site-1");
    CHECK(credentials.drs(0).name() == "127.0.0.1");
    CHECK(credentials.drs(0).addresses(0) == f.address());
    Ur ur(credentials);
    const auto got = ur.attachment();
    CHECK(got.subscriber() == "site-1");
    CHECK(got.prefixes_size() == 2);
    CHECK(got.policy().name() == "default");
    CHECK(got.policy_generation() == (got.policy().revision() & 0xffff));
    CHECK(got.wait_to_restore_s() == 60);
    CHECK(got.drs(0).addresses(0) == f.address());
    REQUIRE(got.tunnels_size() == 2);
    const auto& a = got.tunnels(0);
    CHECK(a.line() == "a");
    CHECK(a.dr_address() == "192.0.2.1");
    CHECK(a.dr_port() == 4754);
    CHECK(a.id() != 0);
    CHECK(a.mtu() == 1464);
    CHECK(a.profile() == v1::MOBILE);
    CHECK(a.timers().active_interval_ms() == 200);
    REQUIRE(a.keys_size() == 1);
    CHECK(a.keys(0).key().size() == 32);
    const auto& b = got.tunnels(1);
    CHECK(b.line_number() == 1);
    CHECK(b.dr_port() == 0);
    CHECK(b.profile() == v1::FIXED);
    CHECK(b.keys(0).key() != a.keys(0).key());
    REQUIRE(eventually([&] {
        const auto all = f.attachments();
        return all.size() == 1 && all[0].applied_generation() == got.generation();
    }));
    CHECK(f.attachments()[0].version() == "test");
    CHECK(f.attachments()[0].incarnation() == 42);
}

TEST_CASE("a change is pushed on the stream that is open, as a whole new attachment") {
    Fixture f;
    Ur ur(f.enroll());
    const auto first = ur.attachment(1);
    f.apply({R"({"policy":{"name":"default","waitToRestoreS":5,"classes":[{"name":"all","tiers":[
        {"lines":[{"line":"b"}]},{"lines":[{"line":"a"}]}]}]}})"});
    const auto second = ur.attachment(2);
    CHECK(second.generation() > first.generation());
    CHECK(second.wait_to_restore_s() == 5);
    CHECK(second.tunnels(0).line_number() == 0);  // as before: only the tiers have changed places
    CHECK(second.tunnels(0).keys(0).key() == first.tunnels(0).keys(0).key());
    f.apply(
        {R"({"subscriber":{"name":"site-1","policy":"default","prefixes":["203.0.113.8/29"]}})"});
    const auto third = ur.attachment(3);
    CHECK(third.prefixes_size() == 1);
    CHECK(third.tunnels_size() == 0);
    CHECK(ur.client().status().attempts == 1);
}

TEST_CASE("a rotation pushes a new key in front of the one before") {
    Fixture f;
    Ur ur(f.enroll());
    const auto before = ur.attachment(1).tunnels(0);
    grpc::ClientContext context;
    v1::Subscriber answer;
    REQUIRE(f.subscribers->RotateKeys(&context, Fixture::named(), &answer).ok());
    CHECK(answer.tunnels(0).key_number() == 2);
    const auto after = ur.attachment(2).tunnels(0);
    REQUIRE(after.keys_size() == 2);
    CHECK(after.keys(0).number() == 2);
    CHECK(after.keys(0).key() != before.keys(0).key());
    CHECK(after.keys(1).number() == 1);
    CHECK(after.keys(1).key() == before.keys(0).key());
    CHECK(after.id() == before.id());
}

TEST_CASE("a revocation ends the stream, and the UR is refused from then on") {
    Fixture f;
    const auto credentials = f.enroll();
    Ur ur(credentials);
    ur.attachment();
    const auto revoked = f.revoke();
    CHECK(revoked.certificates() == 1);
    CHECK(revoked.streams() == 1);
    REQUIRE(eventually([&] { return f.attachments().empty(); }, 1s));
    CHECK(ur.refused(v1::Refused::REVOKED));
    const auto attempts = ur.client().status().attempts;
    REQUIRE(eventually([&] { return ur.client().status().attempts > attempts + 1; }));
    CHECK(ur.count() == 1);
    CHECK(f.attachments().empty());
    // A restart of drd does not forget it.
    f.drd->end(SIGKILL);
    f.start_drd({});
    Ur again(credentials);
    CHECK(again.refused(v1::Refused::REVOKED));
    CHECK(again.count() == 0);
    Ur fresh(f.enroll());
    CHECK(fresh.attachment().subscriber() == "site-1");
}

TEST_CASE("a UR whose certificate another CA has issued is refused in the handshake") {
    Fixture f;
    auto credentials = f.enroll();
    const TemporaryFolder other;
    const auto stranger = pki::Authority::open(other.file("")).issue_client("site-1");
    credentials.set_certificate(stranger.certificate);
    credentials.set_private_key(stranger.private_key);
    Ur ur(credentials);
    REQUIRE(eventually([&] { return ur.client().status().attempts > 1; }));
    CHECK(ur.fails("it may refuse this router's certificate"));
    CHECK(ur.count() == 0);
    CHECK(f.attachments().empty());
}

TEST_CASE("a certificate that drd's CA has signed but drd has not enrolled is refused") {
    Fixture f;
    auto credentials = f.enroll();
    const auto forged = pki::Authority::open(f.folder.file("")).issue_client("site-1");
    credentials.set_certificate(forged.certificate);
    credentials.set_private_key(forged.private_key);
    Ur ur(credentials);
    CHECK(ur.refused(v1::Refused::REVOKED));
}

TEST_CASE("a certificate of the operator's CA is taken by its name, until drd enrolls or revokes") {
    const TemporaryFolder other;
    const auto ca = pki::Authority::open(other.file(""));
    Fixture f({"--signalling-ca", other.file("ca-cert.pem")});
    const auto issued = ca.issue_client("site-1");
    v1::Credentials credentials;
    credentials.set_subscriber("site-1");
    credentials.add_drs()->set_name("127.0.0.1");
    credentials.mutable_drs(0)->add_addresses(f.address());
    credentials.set_ca(pki::read_file(f.folder.file("ca-cert.pem")));
    credentials.set_certificate(issued.certificate);
    credentials.set_private_key(issued.private_key);
    Ur ur(credentials);
    ur.attachment();
    f.revoke();
    CHECK(ur.refused(v1::Refused::REVOKED));
}

TEST_CASE("the UR refuses a DR of another CA, and one of another name") {
    Fixture f;
    const auto good = f.enroll();
    auto other_ca = good;
    const TemporaryFolder other;
    other_ca.set_ca(pki::Authority::open(other.file("")).anchors());
    Ur distrustful(other_ca);
    CHECK(distrustful.fails("certificate"));
    CHECK(distrustful.client().status().detail.starts_with("the peer's certificate: "));
    auto other_name = good;
    other_name.mutable_drs(0)->set_name("dr9.example.net");
    Ur careful(other_name);
    CHECK(careful.fails("does not carry the name dr9.example.net"));
    CHECK(careful.client().status().detail.starts_with("the peer's certificate"));
    CHECK(f.attachments().empty());
}

TEST_CASE("a DR's certificate of any date is good: a UR may not know the time") {
    Fixture f;
    const auto credentials = f.enroll();
    const char* not_before = "19800101000000Z";
    const char* not_after = "19810101000000Z";
    SECTION("expired") {}
    SECTION("not yet valid, as it looks to a clock that says 1970") {
        not_before = "21000101000000Z";
        not_after = "21010101000000Z";
    }
    write_certificate(f.folder, not_before, not_after);
    f.drd->end(SIGTERM);
    f.start_drd({"--signalling-cert", f.folder.file("dr.pem"), "--signalling-key",
                 f.folder.file("dr.key")});
    Ur ur(credentials);
    CHECK(ur.attachment().subscriber() == "site-1");
}

TEST_CASE("signalling speaks TLS 1.3 only") {
    Fixture f;
    const auto credentials = f.enroll();
    CHECK(handshake(f.port, credentials, TLS1_3_VERSION));
    CHECK_FALSE(handshake(f.port, credentials, TLS1_2_VERSION));
}

TEST_CASE("the newest stream of a subscriber wins") {
    Fixture f;
    const auto credentials = f.enroll();
    Ur first(credentials);
    first.attachment();
    Ur second(credentials);
    second.attachment();
    CHECK(eventually([&] {
        return first.client().status().refused == v1::Refused::SUPERSEDED || first.count() > 1;
    }));
    CHECK(f.attachments().size() == 1);
}

TEST_CASE("a UR goes on with the attachment on disk, and attaches again when drd is back") {
    Fixture f;
    const auto credentials = f.enroll();
    const std::string cache = f.folder.file("attachment");
    std::string key;
    {
        Ur ur(credentials, cache);
        key = ur.attachment().tunnels(0).keys(0).key();
        REQUIRE(eventually([&] { return ur.client().status().connected; }));
    }
    f.drd->end(SIGKILL);
    struct stat status {};
    REQUIRE(::stat(cache.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    Ur ur(credentials, cache);
    CHECK(ur.attachment(1).tunnels(0).keys(0).key() == key);
    CHECK(ur.cached() == 1);
    CHECK(ur.client().status().cached);
    f.start_drd({});
    CHECK(ur.attachment(2).tunnels(0).keys(0).key() == key);
    CHECK(ur.cached() == 1);
    // Once more, with the stream open.
    f.drd->end(SIGKILL);
    f.start_drd({});
    ur.attachment(3);
}

TEST_CASE("a broken or foreign file on disk is no attachment") {
    Fixture f;
    const auto credentials = f.enroll();
    const std::string cache = f.folder.file("attachment");
    std::ofstream(cache) << "no attachment";
    Ur ur(credentials, cache);
    ur.attachment();
    CHECK(ur.cached() == 0);
    auto other = credentials;
    other.set_subscriber("site-2");
    Ur foreign(other, cache);
    foreign.attachment();
    CHECK(foreign.cached() == 0);
}

TEST_CASE("a tunnel that its line cannot carry is left out, and a note says why") {
    Fixture f;
    v1::Line a = line("a");
    a.add_encapsulations(v1::GRE);
    v1::Line b = line("b");
    b.set_ipv6(true);
    Ur ur(f.enroll(), {}, {a, b, line("c")});
    const auto got = ur.attachment(1);
    REQUIRE(got.tunnels_size() == 1);
    CHECK(got.tunnels(0).line() == "b");
    REQUIRE(got.notes_size() == 2);
    CHECK_THAT(got.notes(0), Catch::Contains("line a is left out: it does not do GRE_UDP"));
    CHECK_THAT(got.notes(1), Catch::Contains("line c has no tunnel"));
    ur.client().set_lines({line("a"), line("b")});
    CHECK(ur.attachment(2).tunnels_size() == 2);
}

TEST_CASE("an automatic tunnel is GRE-in-UDP for a UR that does not say that it knows better") {
    Fixture f;
    std::string automatic = Fixture::site();
    automatic.replace(automatic.find("GRE_UDP"), 7, "AUTO");
    f.apply({automatic});
    v1::Line able = line("a");
    for (const auto encapsulation : {v1::GRE, v1::GRE_UDP, v1::AUTO})
        able.add_encapsulations(encapsulation);
    Ur ur(f.enroll(), {}, {able, line("b")});
    const auto first = ur.attachment(1).tunnels(0);
    CHECK(first.encapsulation() == v1::AUTO);
    CHECK(first.dr_port() == 4754);
    ur.client().set_lines({line("a"), line("b")});
    CHECK(ur.attachment(2).tunnels(0).encapsulation() == v1::GRE_UDP);
    v1::Line native = line("a");
    native.add_encapsulations(v1::GRE);
    ur.client().set_lines({native, line("b")});
    CHECK(ur.attachment(3).tunnels_size() == 1);
}

TEST_CASE("a subscriber that is deleted loses its stream") {
    Fixture f;
    Ur ur(f.enroll());
    ur.attachment();
    grpc::ClientContext context;
    v1::DeleteRequest request;
    request.set_name("site-1");
    google::protobuf::Empty nothing;
    REQUIRE(f.subscribers->Delete(&context, request, &nothing).ok());
    CHECK(ur.refused(v1::Refused::UNKNOWN_SUBSCRIBER));
}

TEST_CASE("a message out of order ends the stream with a reason") {
    Fixture f;
    const auto credentials = f.enroll();
    v1::Hello too_many;
    for (int i = 0; i < 17; ++i) *too_many.add_lines() = line("l" + std::to_string(i));
    ur::SignallingStream stream(credentials, {}, {"127.0.0.1", f.address(), {}}, too_many, [] {});
    std::optional<v1::DrMessage> answer;
    REQUIRE(eventually([&] { return answer || (answer = stream.take()); }));
    CHECK(answer->refused().reason() == v1::Refused::PROTOCOL);
    CHECK_THAT(answer->refused().text(), Catch::Contains("the limit is 16"));
    REQUIRE(eventually([&] { return stream.result().has_value(); }));
    CHECK(stream.result()->error_code() == grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("no key is in anything that drd's API shows") {
    Fixture f;
    Ur ur(f.enroll());
    const std::string key = ur.attachment().tunnels(0).keys(0).key();
    grpc::ClientContext context;
    v1::Subscriber subscriber;
    REQUIRE(f.subscribers->Get(&context, Fixture::named(), &subscriber).ok());
    CHECK(subscriber.SerializeAsString().find(key) == std::string::npos);
    grpc::ClientContext other;
    v1::UserRouterConfig config;
    REQUIRE(f.subscribers->GetUserRouterConfig(&other, Fixture::named(), &config).ok());
    CHECK(config.SerializeAsString().find(key) == std::string::npos);
}

}  // namespace dr::control::test
