// Decides which clients with a certificate of --tls-ca are operators. A client for whom a CA of
// sites vouches too, at any depth, is not. Of the others, those that --tls-client names are.
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

    // Why the owner of the certificate (PEM), shown with this chain (PEM), is not an operator;
    // empty: it is.
    [[nodiscard]] std::string fault(const std::string& pem, const std::string& chain) const;

  private:
    const std::vector<std::string> names_;
    const std::vector<pki::Certificate> anchors_;
    const std::vector<pki::Certificate> of_sites_;
    // The verdicts on the latest certificates, each with its chain. A verdict costs one signature
    // check for each certificate of the chain.
    struct Known {
        std::string chain;
        std::string fault;
    };
    std::mutex mutex_;                    // below
    std::map<std::string, Known> known_;  // by certificate
};

}  // namespace dr::control
