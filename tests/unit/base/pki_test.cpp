// The built-in CA and the check of certificates.
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "pki/authority.h"
#include "tests/unit/control/support.h"

namespace dr::pki::test {
namespace {

using control::test::TemporaryFolder;

Certificate first(const std::string& pem) {
    const auto all = parse_certificates(pem);
    REQUIRE_FALSE(all.empty());
    return all.front();
}

std::string check(const std::string& leaf, const std::string& anchors, Purpose purpose) {
    const auto chain = parse_certificates(leaf);
    REQUIRE_FALSE(chain.empty());
    return check_chain(chain.front(), chain, parse_certificates(anchors), purpose);
}

}  // namespace

TEST_CASE("a CA is made at first use, kept, and its key is for its owner alone") {
    const TemporaryFolder folder;
    const Authority ca = Authority::open(folder.file(""));
    struct stat status {};
    REQUIRE(::stat(folder.file("ca-key.pem").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    const Authority again = Authority::open(folder.file(""));
    CHECK(again.anchors() == ca.anchors());
    CHECK(check(ca.issue_client("s").certificate, again.anchors(), Purpose::Client).empty());
}

TEST_CASE("a UR's certificate carries the subscriber's name and serves no server") {
    const TemporaryFolder folder;
    const Authority ca = Authority::open(folder.file(""));
    const Issued issued = ca.issue_client("site-42");
    CHECK(first(issued.certificate).common_name() == "site-42");
    CHECK(first(issued.certificate).fingerprint() == issued.fingerprint);
    CHECK_FALSE(check(issued.certificate, ca.anchors(), Purpose::Server).empty());
    CHECK(ca.issue_client("site-42").fingerprint != issued.fingerprint);
}

TEST_CASE("signatures are followed to an anchor, and past a CA of sites or not") {
    const TemporaryFolder folder;
    const TemporaryFolder other;
    const Authority ca = Authority::open(folder.file(""));
    const auto leaf = parse_certificates(ca.issue_client("s").certificate);
    const auto own = parse_certificates(ca.anchors());
    const auto foreign = parse_certificates(Authority::open(other.file("")).anchors());
    CHECK(ancestry(leaf.front(), leaf, own, foreign) == Ancestry::Clean);
    CHECK(ancestry(leaf.front(), {}, own, own) == Ancestry::Tainted);
    // Whatever else is shown, and whether or not it leads to an anchor.
    CHECK(ancestry(leaf.front(), foreign, foreign, own) == Ancestry::Tainted);
    CHECK(ancestry(leaf.front(), own, foreign, {}) == Ancestry::Unknown);
    CHECK(ancestry(own.front(), {}, foreign, own) == Ancestry::Tainted);
}

TEST_CASE("a DR's certificate carries its names and addresses, and no others") {
    const TemporaryFolder folder;
    const Authority ca = Authority::open(folder.file(""));
    const Issued issued = ca.issue_server({"dr1.example.net", "192.0.2.1", "2001:db8::1"});
    const Certificate certificate = first(issued.certificate);
    CHECK(check(issued.certificate, ca.anchors(), Purpose::Server).empty());
    CHECK_FALSE(check(issued.certificate, ca.anchors(), Purpose::Client).empty());
    CHECK(certificate.names("dr1.example.net"));
    CHECK(certificate.names("192.0.2.1"));
    CHECK(certificate.names("2001:db8::1"));
    CHECK_FALSE(certificate.names("dr2.example.net"));
    CHECK_FALSE(certificate.names("192.0.2.2"));
}

TEST_CASE("a certificate of another CA of the same name is refused") {
    const TemporaryFolder folder;
    const TemporaryFolder other;
    const Authority ca = Authority::open(folder.file(""));
    const Authority stranger = Authority::open(other.file(""));
    CHECK_FALSE(
        check(stranger.issue_client("s").certificate, ca.anchors(), Purpose::Client).empty());
}

TEST_CASE("dates are not looked at: a certificate that has expired is good") {
    const TemporaryFolder folder;
    const Authority ca = Authority::open(folder.file(""));
    const Issued issued = ca.issue_client("s");
    // The same certificate with other dates, signed again by the CA's key.
    Certificate expired = first(issued.certificate);
    ASN1_TIME_set_string(X509_getm_notBefore(expired.get()), "19800101000000Z");
    ASN1_TIME_set_string(X509_getm_notAfter(expired.get()), "19810101000000Z");
    std::FILE* file = std::fopen(folder.file("ca-key.pem").c_str(), "r");
    REQUIRE(file != nullptr);
    EVP_PKEY* key = PEM_read_PrivateKey(file, nullptr, nullptr, nullptr);
    std::fclose(file);
    REQUIRE(X509_sign(expired.get(), key, EVP_sha256()) > 0);
    EVP_PKEY_free(key);
    REQUIRE(X509_cmp_current_time(X509_get0_notAfter(expired.get())) < 0);
    CHECK(check(expired.pem(), ca.anchors(), Purpose::Client).empty());
}

TEST_CASE("an authority is refused when its certificate and key are not those of one CA") {
    const TemporaryFolder folder;
    const Authority ca = Authority::open(folder.file(""));
    CHECK_THROWS_WITH(Authority::load(folder.file("none.pem"), folder.file("ca-key.pem")),
                      Catch::Contains("none.pem: cannot be read"));
    const TemporaryFolder other;
    const Authority stranger = Authority::open(other.file(""));
    CHECK_THROWS_WITH(Authority::load(folder.file("ca-cert.pem"), other.file("ca-key.pem")),
                      Catch::Contains("do not belong together"));
    const Issued leaf = ca.issue_client("s");
    std::ofstream(folder.file("leaf.pem")) << leaf.certificate;
    std::ofstream(folder.file("leaf.key")) << leaf.private_key;
    CHECK_THROWS_WITH(Authority::load(folder.file("leaf.pem"), folder.file("leaf.key")),
                      Catch::Contains("no CA's"));
}

TEST_CASE("a CA whose certificate is lost gets another one for the same key") {
    const TemporaryFolder folder;
    const Issued before = Authority::open(folder.file("")).issue_client("s");
    std::filesystem::remove(folder.file("ca-cert.pem"));
    const Authority ca = Authority::open(folder.file(""));
    CHECK(check(before.certificate, ca.anchors(), Purpose::Client).empty());
    std::filesystem::remove(folder.file("ca-cert.pem"));
    std::ofstream(folder.file("ca-key.pem")) << "no key";
    CHECK_THROWS_WITH(Authority::open(folder.file("")), Catch::Contains("ca-key.pem"));
    CHECK(read_file(folder.file("ca-key.pem")) == "no key");
}

TEST_CASE("a certificate and a key that do not belong together are told from a pair") {
    const TemporaryFolder folder;
    const Authority ca = Authority::open(folder.file(""));
    const Issued one = ca.issue_client("s");
    CHECK(check_pair(one.certificate, one.private_key).empty());
    CHECK_THAT(check_pair(one.certificate, ca.issue_client("s").private_key),
               Catch::Contains("do not belong together"));
    CHECK_THAT(check_pair(one.certificate, "-----BEGIN PRIVATE KEY-----"),
               Catch::Contains("no private key"));
    CHECK_THAT(check_pair("", one.private_key), Catch::Contains("no certificate"));
}

TEST_CASE("of a PEM text with one broken certificate none is taken; other text is passed over") {
    const TemporaryFolder folder;
    const std::string good = Authority::open(folder.file("")).anchors();
    REQUIRE(parse_certificates(good).size() == 1);
    CHECK(parse_certificates("issued for a test\n" + good + "\n" + good).size() == 2);
    std::string shorter = good;
    shorter.erase(shorter.size() / 2, 4);
    const std::string endless = good.substr(0, good.find("-----END"));
    std::string flipped = good;
    flipped[good.find('\n') + 4] = flipped[good.find('\n') + 4] == 'A' ? 'B' : 'A';
    for (const auto& broken : {shorter, endless, flipped}) {
        CAPTURE(broken);
        CHECK(parse_certificates(broken).empty());
        CHECK(parse_certificates(good + broken).empty());
    }
    CHECK(parse_certificates(shorter + good).empty());
    CHECK(parse_certificates(flipped + good).empty());
    CHECK(parse_certificates("").empty());
}

}  // namespace dr::pki::test
