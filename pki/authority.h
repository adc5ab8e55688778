// The certificate authority that issues the certificates of URs, and of a DR without one of its
// own: EC P-256, ECDSA with SHA-256. Certificates are valid for ever (RFC 5280 §4.1.2.5), because
// neither end of signalling checks dates; a certificate that is no longer to be accepted is revoked
// in the store.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pki/x509.h"

using EVP_PKEY = struct evp_pkey_st;

namespace dr::pki {

struct Issued {
    std::string certificate;  // PEM: the certificate, then its issuers without a root
    std::string private_key;  // PEM (PKCS #8); secret
    Fingerprint fingerprint{};
};

class Authority {
  public:
    // An authority in `folder`, as ca-cert.pem and ca-key.pem (mode 0600), which are created if
    // neither exists. A key alone gets a new certificate, which verifies earlier certificates too.
    // Throws PkiError.
    static Authority open(const std::string& folder);
    // The operator's own: the issuing certificate, then its issuers if it is not a root; its key.
    static Authority load(const std::string& certificate_file, const std::string& key_file);

    // For the UR of a subscriber: its name is the common name, and it carries kSiteMark; it may not
    // serve as a server's.
    [[nodiscard]] Issued issue_client(const std::string& subscriber) const;
    // For a DR with these DNS names or IP addresses, at least one.
    [[nodiscard]] Issued issue_server(const std::vector<std::string>& names) const;

    // Whether an authority made by open() is in `folder`.
    static bool exists(const std::string& folder);
    // The common name of an authority that open() has made.
    static constexpr const char* kName = "Distribution Router CA";

    // PEM: the trust anchors for this authority's certificates.
    [[nodiscard]] std::string anchors() const;

  private:
    Authority(std::vector<Certificate> chain, EVP_PKEY* key, const std::string& where);
    [[nodiscard]] Issued issue(const std::string& common_name, const std::string& alternative_names,
                               const char* usage) const;

    std::vector<Certificate> chain_;  // the issuing certificate first
    std::shared_ptr<EVP_PKEY> key_;
};

// Whether the first certificate of a PEM text and a private key in PEM belong together. Empty: they
// do; otherwise why not.
std::string check_pair(const std::string& certificate, const std::string& private_key);

// The whole of a file. Throws PkiError that names it.
std::string read_file(const std::string& path);

}  // namespace dr::pki
