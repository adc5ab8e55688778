// Certificates by OpenSSL's library: reading, naming, checking. No network, no wall clock.
#pragma once

#include <openssl/x509.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace dr::pki {

// What is wrong with a certificate, a key or a file, and what would be right.
class PkiError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// SHA-256 of the DER form.
using Fingerprint = std::array<std::uint8_t, 32>;

// A subject alternative name (URI) of every certificate that drd issues to a site. It opens
// signalling, and never the operator's API.
inline constexpr const char* kSiteMark = "urn:distribution-router:site";

class Certificate {
  public:
    // Takes over the reference.
    explicit Certificate(X509* certificate) : x509_(certificate, &X509_free) {}

    [[nodiscard]] std::string pem() const;
    [[nodiscard]] Fingerprint fingerprint() const;
    // Whether both have one key, or the other's has signed this one.
    [[nodiscard]] bool of_or_by(const Certificate& other) const;
    [[nodiscard]] bool same_key(const Certificate& other) const;
    // Whether the other's subject is named as this one's issuer, and its key has signed this one.
    [[nodiscard]] bool issued_by(const Certificate& other) const;
    // Of the subject; empty: none.
    [[nodiscard]] std::string common_name() const;
    // Whether a subject alternative name is this DNS name (RFC 6125) or this IP address.
    [[nodiscard]] bool names(const std::string& host) const;
    // Whether it carries the mark of what this product issues to sites (kSiteMark).
    [[nodiscard]] bool of_site() const;
    [[nodiscard]] X509* get() const { return x509_.get(); }

  private:
    std::shared_ptr<X509> x509_;
};

// All certificates of a PEM text, in order; other content is skipped. Empty: there is none, or one
// of them is broken.
std::vector<Certificate> parse_certificates(std::string_view pem);

// What the peer's certificate is for (RFC 5280 §4.2.1.12).
enum class Purpose { Server, Client };

// Whether a chain leads from `leaf` through `others` to one of `anchors`, each of which is trusted
// as it is. Signatures, constraints and purpose are checked; dates are not: a UR may not know the
// time, and certificates that are no longer to be accepted are revoked. Empty: good; otherwise why
// not.
std::string check_chain(const Certificate& leaf, std::span<const Certificate> others,
                        std::span<const Certificate> anchors, Purpose purpose);

// Where signatures lead from a certificate.
enum class Ancestry {
    Unknown,  // to none of `anchors`: a certificate between is missing
    Clean,    // to one of `anchors`, on no way past a key of `authorities`
    Tainted,  // on some way past a key of `authorities`
};
// Follows signatures from `leaf` through `others`, on every path, to `anchors`. Unlike
// check_chain() it compares only keys, so that neither a choice of shown certificates nor a second
// certificate for a key can hide an authority. It costs a signature check for each pair of
// certificates whose names fit: bound `others`.
Ancestry ancestry(const Certificate& leaf, std::span<const Certificate> others,
                  std::span<const Certificate> anchors, std::span<const Certificate> authorities);

// The latest error of OpenSSL on this thread, as text.
std::string last_error();

}  // namespace dr::pki
