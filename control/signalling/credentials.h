// Certificates: drd's authority, this DR's certificate, and those of URs.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "control/daemon/options.h"
#include "control/model/catalog.h"
#include "dr/v1/api.pb.h"
#include "pki/authority.h"

namespace dr::control {

class Credentials {
  public:
    // The built-in CA is made at first use, beside the store. Reads the files that `options` name.
    // Throws StartError.
    explicit Credentials(const Options& options);

    // This DR's certificate and key. Throws PkiError.
    pki::Issued server();
    // PEM: all CAs that are trusted, drd's own first. Throws PkiError.
    std::string anchors();
    // Throws StartError when the CAs of the API's clients are among those of URs, or have signed
    // one, directly or through certificates that `options` name: the CA beside the store, whether
    // or not there is signalling now, and those of --signalling-ca.
    void keep_apart(const Options& options);
    // The CAs of URs, after keep_apart(). A client with a certificate of one of them is not an
    // operator.
    [[nodiscard]] const std::vector<pki::Certificate>& of_sites() const { return of_sites_; }
    // CAs besides drd's own.
    [[nodiscard]] const std::vector<pki::Certificate>& others() const { return others_; }
    // Where URs attach.
    [[nodiscard]] const std::vector<v1::SignallingAddress>& drs() const { return drs_; }

    // Addresses of signalling here and at the other DRs, if given as addresses and not as names. No
    // site's prefix may hold one.
    [[nodiscard]] const Catalog::Reserved& reserved() const { return reserved_; }

    // Issues a certificate and records it in the subscriber's secrets. Unless `keep_older`, earlier
    // ones are removed once a UR has attached with it (used()). `older`: the number of earlier
    // ones.
    Failure enroll(Catalog& catalog, const std::string& subscriber, bool keep_older,
                   v1::Credentials& out, std::uint32_t& older);
    // A UR has attached with the certificate of this fingerprint: if it replaces earlier ones,
    // removes them.
    static Failure used(Catalog& catalog, const std::string& subscriber,
                        const std::string& fingerprint);
    // Refuses all certificates except the latest. `count`: how many were refused.
    static Failure revoke_older(Catalog& catalog, const std::string& subscriber,
                                std::uint32_t& count);
    // Refuses all existing certificates, and replaces the tunnels' ids and keys. `count`: how many
    // certificates were enrolled.
    static Failure revoke(Catalog& catalog, const std::string& subscriber, std::uint32_t& count);

  private:
    const pki::Authority& authority();
    void check_given(const Options& options) const;

    const std::string folder_;
    const bool signalling_;
    const std::string ca_cert_;
    const std::string ca_key_;
    std::optional<pki::Issued> given_;  // --signalling-cert and --signalling-key
    std::string others_pem_;
    std::vector<pki::Certificate> others_;
    std::vector<pki::Certificate> of_sites_;
    std::vector<std::string> names_;  // for a certificate of our own making
    std::vector<v1::SignallingAddress> drs_;
    Catalog::Reserved reserved_;

    std::mutex mutex_;
    std::optional<pki::Authority> authority_;
};

}  // namespace dr::control
