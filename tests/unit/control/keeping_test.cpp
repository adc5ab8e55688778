// What a UR keeps of what it was told, and how drd and the UR refuse files that cannot be right.
#include <filesystem>
#include <fstream>

#include "control/daemon/listener.h"
#include "tests/unit/control/signalling_fixture.h"
#include "ur/signalling/cache.h"

namespace dr::control::test {
namespace {

// How drd ends that is started with these options.
int start(const Fixture& f, const std::vector<std::string>& more) {
    std::vector<std::string> words{program("DRD_EXE"), "--store", f.folder.file("other/db"),
                                   "--dataplane", f.folder.file("dp.sock")};
    words.insert(words.end(), more.begin(), more.end());
    Process drd(words);
    return drd.wait();
}

bool refused(const Fixture& f, const std::vector<std::string>& more) {
    const int status = start(f, more);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

void write(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

v1::Attachment small_attachment() {
    v1::Attachment out;
    out.set_subscriber("site-1");
    for (int i = 0; i < 8; ++i) out.add_prefixes("203.0.113.8/29");
    return out;
}

}  // namespace

TEST_CASE("an attachment that the UR cannot put in force is neither acknowledged nor kept") {
    Fixture f;
    const auto credentials = f.enroll();
    const std::string cache = f.folder.file("attachment");
    std::uint64_t good = 0;
    {
        Ur ur(credentials, cache);
        good = ur.attachment().generation();
        REQUIRE(eventually([&] { return f.attachments()[0].applied_generation() == good; }));
    }
    ur::SignallingOptions options;
    options.cache = cache;
    ur::SignallingClient picky(
        credentials, options,
        {[&](const auto& attachment, ur::Source) {
             return std::string(attachment.generation() == good ? "" : "too much for me");
         },
         {}});
    picky.start();
    REQUIRE(eventually([&] { return picky.status().connected; }));
    f.apply({R"({"policy":{"name":"default","waitToRestoreS":5,"classes":[{"name":"all","tiers":[
        {"lines":[{"line":"b"}]},{"lines":[{"line":"a"}]}]}]}})"});
    REQUIRE(eventually([&] { return picky.status().detail == "too much for me"; }));
    CHECK(picky.status().connected);
    CHECK(picky.status().generation == good);
    const auto seen = f.attachments().at(0);
    CHECK(seen.sent_generation() > good);
    CHECK(seen.applied_generation() == good);
    picky.stop();
    std::string why;
    const auto kept = ur::AttachmentCache(cache).load("site-1", why);
    REQUIRE(kept);
    CHECK(kept->generation() == good);
}

TEST_CASE("a reason that is longer than it may be arrives, cut where a character ends") {
    Fixture f;
    for (const std::size_t before : {996U, 997U, 998U, 999U}) {
        const std::string reason = std::string(before, 'x') + "\u00e9\u00e9\u00e9";
        ur::SignallingClient picky(f.enroll(), {},
                                   {[&](const auto&, ur::Source) { return reason; }, {}});
        picky.start();
        std::string seen;
        CHECK(eventually([&] {
            const auto now = f.attachments();
            if (!now.empty()) seen = now.front().declined_why();
            return !seen.empty();
        }));
        CHECK(seen.size() <= 1000);
        CHECK_THAT(seen, Catch::EndsWith("…"));
        CHECK(eventually([&] { return picky.status().connected; }));
    }
}

TEST_CASE("an attachment on disk that was cut anywhere, or has one bit changed, is none") {
    const TemporaryFolder folder;
    const std::string path = folder.file("attachment");
    REQUIRE(ur::AttachmentCache(path).save(small_attachment()).empty());
    const std::string whole = pki::read_file(path);
    std::string why;
    REQUIRE(ur::AttachmentCache(path).load("site-1", why));
    CHECK(why.empty());
    for (std::size_t size = 0; size < whole.size(); ++size) {
        write(path, whole.substr(0, size));
        CHECK_FALSE(ur::AttachmentCache(path).load("site-1", why));
        CHECK_THAT(why, Catch::Contains("broken"));
    }
    for (std::size_t i = 0; i < whole.size(); ++i) {
        std::string changed = whole;
        changed[i] = static_cast<char>(changed[i] ^ 1);
        write(path, changed);
        CHECK_FALSE(ur::AttachmentCache(path).load("site-1", why));
    }
    write(path, whole);
    CHECK_FALSE(ur::AttachmentCache(path).load("site-2", why));
    CHECK_THAT(why, Catch::Contains("of subscriber \"site-1\""));
    why.clear();
    CHECK_FALSE(ur::AttachmentCache(folder.file("none")).load("site-1", why));
    CHECK(why.empty());
}

TEST_CASE("credentials whose key is not the certificate's are refused before any network") {
    Fixture f;
    auto credentials = f.enroll();
    credentials.set_private_key(f.enroll().private_key());
    CHECK_THROWS_WITH(ur::SignallingClient(credentials, {}, {}),
                      Catch::Contains("do not belong together"));
    credentials.set_private_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    CHECK_THROWS_WITH(ur::SignallingClient(credentials, {}, {}), Catch::Contains("no private key"));
}

TEST_CASE("drd does not start with a certificate for signalling that no UR would accept") {
    Fixture f;
    const auto ca = pki::Authority::open(f.folder.file(""));
    const auto good = ca.issue_server({"dr1.example.net"});
    write(f.folder.file("dr.pem"), good.certificate);
    write(f.folder.file("dr.key"), ca.issue_server({"dr1.example.net"}).private_key);
    const std::vector<std::string> options{"--listen",          "unix:" + f.folder.file("other"),
                                           "--signalling",      "127.0.0.1:1",
                                           "--signalling-cert", f.folder.file("dr.pem"),
                                           "--signalling-key",  f.folder.file("dr.key"),
                                           "--signalling-name"};
    auto named = options;
    named.emplace_back("dr1.example.net:4755");
    CHECK(refused(f, named));
    write(f.folder.file("dr.key"), good.private_key);
    auto other = options;
    other.emplace_back("dr2.example.net:4755");
    CHECK(refused(f, other));
}

TEST_CASE("drd refuses one CA for URs and operators: a UR's certificate must not open its API") {
    Fixture f;
    const auto operators = pki::Authority::open(f.folder.file(""));
    const auto server = operators.issue_server({"127.0.0.1"});
    write(f.folder.file("api.pem"), server.certificate);
    write(f.folder.file("api.key"), server.private_key);
    CHECK(refused(f, {"--listen", "127.0.0.1:" + std::to_string(free_port()), "--tls-cert",
                      f.folder.file("api.pem"), "--tls-key", f.folder.file("api.key"), "--tls-ca",
                      f.folder.file("ca-cert.pem"), "--signalling",
                      "127.0.0.1:" + std::to_string(free_port()), "--ca-cert",
                      f.folder.file("ca-cert.pem"), "--ca-key", f.folder.file("ca-key.pem")}));
}

TEST_CASE("drd does not listen on the half of a port that it can read") {
    Fixture f;
    const auto operators = pki::Authority::open(f.folder.file(""));
    const auto server = operators.issue_server({"127.0.0.1"});
    write(f.folder.file("api.pem"), server.certificate);
    write(f.folder.file("api.key"), server.private_key);
    const int status = start(f, {"--listen", "*:" + std::to_string(free_port()) + "x", "--tls-cert",
                                 f.folder.file("api.pem"), "--tls-key", f.folder.file("api.key"),
                                 "--tls-ca", f.folder.file("ca-cert.pem")});
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 2));
}

TEST_CASE(
    "an address that this machine does not have is told, one of a name's that it has is enough") {
    // RFC 5737: nobody's.
    CHECK_THROWS_WITH(Listener("--listen", "192.0.2.1:4755"),
                      Catch::Contains("--listen 192.0.2.1:4755: cannot listen there: 192.0.2.1: "));
    const std::string port = std::to_string(free_port());
    const Listener named("--listen", "localhost:" + port);
    CHECK_THROWS_WITH(Listener("--listen", "127.0.0.1:" + port), Catch::Contains("in use"));
}

TEST_CASE("URs are enrolled by the operator's own CA where there is one") {
    const TemporaryFolder folder;
    const auto ca = pki::Authority::open(folder.file(""));
    Fixture f({"--ca-cert", folder.file("ca-cert.pem"), "--ca-key", folder.file("ca-key.pem")});
    const auto credentials = f.enroll();
    CHECK(credentials.ca() == ca.anchors());
    Ur ur(credentials);
    CHECK(ur.attachment().subscriber() == "site-1");
    CHECK_FALSE(std::filesystem::exists(f.folder.file("ca-key.pem")));
}

TEST_CASE("the CA is made beside the store when the store is named without a folder") {
    const TemporaryFolder folder;
    const int port = free_port();
    Process drd({"/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", folder.file(""), program("DRD_EXE"),
                 "--listen", "unix:" + folder.file("sock"), "--store", "db", "--dataplane",
                 folder.file("dp.sock"), "--signalling", "127.0.0.1:" + std::to_string(port)});
    CHECK(eventually([&] { return std::filesystem::exists(folder.file("ca-cert.pem")); }));
}

}  // namespace dr::control::test
