// Who of those with a certificate that --tls-ca vouches for is an operator: nobody for whom a CA of
// sites vouches too, at whatever depth, and of the others those of --tls-client.
#pragma once

#include <grpcpp/security/auth_metadata_processor.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "pki/x509.h"

namespace dr::control {

// Asked about each call, before anything is done for it. Any thread.
class OperatorsOnly final : public grpc::AuthMetadataProcessor {
  public:
    // `names`: of --tls-client; empty: all. `anchors`: of --tls-ca. `of_sites`: the CAs of sites.
    OperatorsOnly(std::vector<std::string> names, std::vector<pki::Certificate> anchors,
                  std::vector<pki::Certificate> of_sites);
    [[nodiscard]] bool IsBlocking() const override { return false; }
    grpc::Status Process(const InputMetadata&, grpc::AuthContext* context, OutputMetadata*,
                         OutputMetadata*) override;

    // Why the owner of the certificate (PEM), which was shown with this chain (PEM), is no
    // operator. Empty: one.
    [[nodiscard]] std::string fault(const std::string& pem, const std::string& chain) const;

  private:
    const std::vector<std::string> names_;
    const std::vector<pki::Certificate> anchors_;
    const std::vector<pki::Certificate> of_sites_;
    // What was found of the latest certificates, each with the chain that it was shown with. To
    // find out costs a signature check for each.
    struct Known {
        std::string chain;
        std::string fault;
    };
    std::mutex mutex_;                    // below
    std::map<std::string, Known> known_;  // by certificate
};

}  // namespace dr::control
