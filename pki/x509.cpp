// Reads, names and verifies certificates with OpenSSL.
#include "pki/x509.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>

namespace dr::pki {
namespace {

template <typename T, void (*Free)(T*)>
struct Deleter {
    void operator()(T* object) const { Free(object); }
};
void free_bio(BIO* bio) {
    BIO_free(bio);
}
// Frees the stack, but not its elements.
void free_stack(STACK_OF(X509) * stack) {
    sk_X509_free(stack);
}
using BioPtr = std::unique_ptr<BIO, Deleter<BIO, free_bio>>;
using StackPtr = std::unique_ptr<STACK_OF(X509), Deleter<STACK_OF(X509), free_stack>>;
using StorePtr = std::unique_ptr<X509_STORE, Deleter<X509_STORE, X509_STORE_free>>;
using ContextPtr = std::unique_ptr<X509_STORE_CTX, Deleter<X509_STORE_CTX, X509_STORE_CTX_free>>;

}  // namespace

std::string last_error() {
    const unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    if (code == 0) return "unknown error";
    std::array<char, 256> text{};
    ERR_error_string_n(code, text.data(), text.size());
    return text.data();
}

std::string Certificate::pem() const {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (!bio || PEM_write_bio_X509(bio.get(), get()) != 1) throw PkiError(last_error());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

Fingerprint Certificate::fingerprint() const {
    Fingerprint out{};
    unsigned size = out.size();
    if (X509_digest(get(), EVP_sha256(), out.data(), &size) != 1) throw PkiError(last_error());
    return out;
}

bool Certificate::of_or_by(const Certificate& other) const {
    EVP_PKEY* key = X509_get0_pubkey(other.get());
    const bool found = key != nullptr && (EVP_PKEY_eq(X509_get0_pubkey(get()), key) == 1 ||
                                          X509_verify(get(), key) == 1);
    ERR_clear_error();
    return found;
}

bool Certificate::same_key(const Certificate& other) const {
    EVP_PKEY* key = X509_get0_pubkey(other.get());
    const bool same = key != nullptr && EVP_PKEY_eq(X509_get0_pubkey(get()), key) == 1;
    ERR_clear_error();
    return same;
}

bool Certificate::issued_by(const Certificate& other) const {
    EVP_PKEY* key = X509_get0_pubkey(other.get());
    const bool issued =
        key != nullptr &&
        X509_NAME_cmp(X509_get_issuer_name(get()), X509_get_subject_name(other.get())) == 0 &&
        X509_verify(get(), key) == 1;
    ERR_clear_error();
    return issued;
}

std::string Certificate::common_name() const {
    const X509_NAME* subject = X509_get_subject_name(get());
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0) return {};
    unsigned char* text = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) return {};
    std::string name(reinterpret_cast<char*>(text), static_cast<std::size_t>(size));
    OPENSSL_free(text);
    return name;
}

bool Certificate::names(const std::string& host) const {
    return X509_check_ip_asc(get(), host.c_str(), 0) == 1 ||
           X509_check_host(get(), host.data(), host.size(), X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                           nullptr) == 1;
}

bool Certificate::of_site() const {
    auto* names = static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(get(), NID_subject_alt_name, nullptr, nullptr));
    bool found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
        int type = 0;
        const auto* value = static_cast<const ASN1_STRING*>(
            GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type));
        if (type != GEN_URI) continue;
        const std::string_view uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                   static_cast<std::size_t>(ASN1_STRING_length(value)));
        found = found || uri == kSiteMark;
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return found;
}

std::vector<Certificate> parse_certificates(std::string_view pem) {
    std::vector<Certificate> out;
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    while (bio) {
        X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr);
        if (certificate == nullptr) break;
        out.emplace_back(certificate);
    }
    // The end of the text looks like an error; so does a broken certificate, and only that makes
    // the whole text useless.
    const unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    if (code != 0 && ERR_GET_REASON(code) != PEM_R_NO_START_LINE) return {};
    return out;
}

std::string check_chain(const Certificate& leaf, std::span<const Certificate> others,
                        std::span<const Certificate> anchors, Purpose purpose) {
    const StorePtr store(X509_STORE_new());
    const StackPtr untrusted(sk_X509_new_null());
    const ContextPtr context(X509_STORE_CTX_new());
    if (!store || !untrusted || !context) return "out of memory";
    for (const auto& anchor : anchors) X509_STORE_add_cert(store.get(), anchor.get());
    for (const auto& other : others) sk_X509_push(untrusted.get(), other.get());
    if (X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), untrusted.get()) != 1)
        return last_error();
    X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
    X509_VERIFY_PARAM_set_purpose(
        parameters, purpose == Purpose::Server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
    if (X509_verify_cert(context.get()) == 1) return {};
    const int code = X509_STORE_CTX_get_error(context.get());
    ERR_clear_error();
    return X509_verify_cert_error_string(code);
}

Ancestry ancestry(const Certificate& leaf, std::span<const Certificate> others,
                  std::span<const Certificate> anchors, std::span<const Certificate> authorities) {
    const auto any = [](std::span<const Certificate> of, const auto& holds) {
        return std::any_of(of.begin(), of.end(), holds);
    };
    std::vector<Certificate> reached{leaf};
    std::vector<bool> seen(others.size());
    bool anchored = false;
    for (std::size_t at = 0; at < reached.size(); ++at) {
        const Certificate here = reached[at];
        if (any(authorities, [&](const auto& a) { return here.of_or_by(a); }))
            return Ancestry::Tainted;
        anchored = anchored || any(anchors, [&](const auto& a) { return here.of_or_by(a); });
        for (std::size_t i = 0; i < others.size(); ++i) {
            if (seen[i] || !here.issued_by(others[i])) continue;
            seen[i] = true;
            // Trust begins at an anchor, whatever its issuer.
            if (!any(anchors, [&](const auto& a) { return others[i].same_key(a); }))
                reached.push_back(others[i]);
        }
    }
    return anchored ? Ancestry::Clean : Ancestry::Unknown;
}

}  // namespace dr::pki
