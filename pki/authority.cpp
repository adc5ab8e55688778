// Creates the CA and issues certificates.
#include "pki/authority.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "process/files.h"

namespace dr::pki {
namespace {

struct KeyDeleter {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct BioDeleter {
    void operator()(BIO* bio) const { BIO_free(bio); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, KeyDeleter>;
using BioPtr = std::unique_ptr<BIO, BioDeleter>;

constexpr const char* kNotBefore = "19700101000000Z";
constexpr const char* kNotAfter = "99991231235959Z";

void require(bool good, const char* what) {
    if (!good) throw PkiError(fmt::format("{}: {}", what, last_error()));
}

KeyPtr new_key() {
    KeyPtr key(EVP_EC_gen("P-256"));
    require(key != nullptr, "making an EC key");
    return key;
}

std::string key_pem(EVP_PKEY* key) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    require(bio && PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr,
                                                 nullptr) == 1,
            "writing a private key");
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    require(extension != nullptr, "making a certificate's extension");
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

// Random, 127 bits: serials are unique, and do not reveal how many certificates exist.
void set_serial(X509* certificate) {
    std::array<unsigned char, 16> bytes{};
    require(RAND_bytes(bytes.data(), bytes.size()) == 1, "drawing a serial number");
    bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7fU) | 0x40U);
    BIGNUM* number = BN_bin2bn(bytes.data(), bytes.size(), nullptr);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
}

Certificate blank(const std::string& common_name, EVP_PKEY* key) {
    Certificate certificate(X509_new());
    X509* x = certificate.get();
    require(x != nullptr && X509_set_version(x, 2) == 1, "making a certificate");
    set_serial(x);
    require(ASN1_TIME_set_string(X509_getm_notBefore(x), kNotBefore) == 1 &&
                ASN1_TIME_set_string(X509_getm_notAfter(x), kNotAfter) == 1,
            "setting a certificate's dates");
    require(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                       reinterpret_cast<const unsigned char*>(common_name.data()),
                                       static_cast<int>(common_name.size()), -1, 0) == 1,
            "setting a certificate's name");
    require(X509_set_pubkey(x, key) == 1, "setting a certificate's key");
    return certificate;
}

Certificate new_root(EVP_PKEY* key) {
    Certificate root = blank(Authority::kName, key);
    X509_set_issuer_name(root.get(), X509_get_subject_name(root.get()));
    add_extension(root.get(), root.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_extension(root.get(), root.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(root.get(), root.get(), NID_subject_key_identifier, "hash");
    require(X509_sign(root.get(), key, EVP_sha256()) > 0, "signing the CA's certificate");
    return root;
}

// Writes the file completely and on disk under its name, or not at all.
void write_file(const std::string& path, const std::string& content, mode_t mode) {
    std::string why;
    if (!process::replace_file(path, content, mode, &why)) throw PkiError(why);
}

bool is_there(const std::string& path) {
    return ::access(path.c_str(), F_OK) == 0;
}

EVP_PKEY* parse_key(const std::string& pem, const std::string& path) {
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    // Never asks for a passphrase: there may be no terminal.
    const auto none = [](char*, int, int, void*) { return -1; };
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, none, nullptr);
    if (key == nullptr)
        throw PkiError(
            fmt::format("{}: no private key in PEM without a passphrase: {}", path, last_error()));
    return key;
}

std::string alternative_name(const std::string& name) {
    std::array<unsigned char, 16> bytes{};
    const bool address = ::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 ||
                         ::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
    return fmt::format("{}:{}", address ? "IP" : "DNS", name);
}

}  // namespace

std::string check_pair(const std::string& certificate, const std::string& private_key) {
    const auto chain = parse_certificates(certificate);
    if (chain.empty()) return "no certificate in PEM";
    try {
        const KeyPtr key(parse_key(private_key, "private key"));
        if (X509_check_private_key(chain.front().get(), key.get()) == 1) return {};
    } catch (const PkiError& e) {
        return e.what();
    }
    ERR_clear_error();
    return "the certificate and the private key do not belong together";
}

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    if (!in || out.str().empty())
        throw PkiError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
    return out.str();
}

Authority::Authority(std::vector<Certificate> chain, EVP_PKEY* key, const std::string& where)
    : chain_(std::move(chain)), key_(key, &EVP_PKEY_free) {
    if (chain_.empty()) throw PkiError(where + ": no certificate in PEM");
    if (X509_check_private_key(chain_.front().get(), key) != 1)
        throw PkiError(where + ": the certificate and the private key do not belong together");
    if (X509_check_ca(chain_.front().get()) == 0)
        throw PkiError(where + ": the first certificate is no CA's; basicConstraints must say so");
}

Authority Authority::open(const std::string& folder) {
    const std::string certificate_file = folder + "/ca-cert.pem";
    const std::string key_file = folder + "/ca-key.pem";
    // The certificate is written last: with it, the CA is complete.
    if (!is_there(certificate_file)) {
        // Only the certificate has been lost, or drd was killed between the two.
        const bool have_key = is_there(key_file);
        const KeyPtr key = have_key ? KeyPtr(parse_key(read_file(key_file), key_file)) : new_key();
        const Certificate root = new_root(key.get());
        if (!have_key) write_file(key_file, key_pem(key.get()), 0600);
        write_file(certificate_file, root.pem(), 0644);
    }
    std::string why;
    if (!process::narrow_file(key_file, 0600, &why)) throw PkiError(why);
    return load(certificate_file, key_file);
}

bool Authority::exists(const std::string& folder) {
    return is_there(folder + "/ca-cert.pem");
}

Authority Authority::load(const std::string& certificate_file, const std::string& key_file) {
    const std::string certificates = read_file(certificate_file);
    return {parse_certificates(certificates), parse_key(read_file(key_file), key_file),
            certificate_file};
}

Issued Authority::issue_client(const std::string& subscriber) const {
    return issue(subscriber, std::string("URI:") + kSiteMark, "clientAuth");
}

Issued Authority::issue_server(const std::vector<std::string>& names) const {
    std::string alternative;
    for (const auto& name : names) {
        if (!alternative.empty()) alternative.push_back(',');
        alternative.append(alternative_name(name));
    }
    return issue(names.front(), alternative, "serverAuth");
}

Issued Authority::issue(const std::string& common_name, const std::string& alternative_names,
                        const char* usage) const {
    X509* issuer = chain_.front().get();
    const KeyPtr key = new_key();
    const Certificate certificate = blank(common_name, key.get());
    X509* x = certificate.get();
    X509_set_issuer_name(x, X509_get_subject_name(issuer));
    add_extension(x, issuer, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(x, issuer, NID_key_usage, "critical,digitalSignature");
    add_extension(x, issuer, NID_ext_key_usage, usage);
    add_extension(x, issuer, NID_subject_key_identifier, "hash");
    // Tells CAs of one name apart.
    add_extension(x, issuer, NID_authority_key_identifier, "keyid");
    if (!alternative_names.empty())
        add_extension(x, issuer, NID_subject_alt_name, alternative_names);
    require(X509_sign(x, key_.get(), EVP_sha256()) > 0, "signing a certificate");
    Issued issued;
    issued.certificate = certificate.pem();
    for (const auto& link : chain_)
        if (X509_self_signed(link.get(), 0) != 1) issued.certificate += link.pem();
    issued.private_key = key_pem(key.get());
    issued.fingerprint = certificate.fingerprint();
    return issued;
}

std::string Authority::anchors() const {
    std::string out;
    for (const auto& link : chain_) out += link.pem();
    return out;
}

}  // namespace dr::pki
