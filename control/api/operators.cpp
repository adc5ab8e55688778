// Checks the certificate chain of each call and refuses clients that are not operators.
#include "control/api/operators.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"

namespace dr::control {
namespace {

// Certificates of a chain: those between an operator's certificate and a root, with some to spare.
constexpr std::size_t kMostCertificates = 10;
constexpr std::size_t kMostKnown = 256;

grpc::Status status_of(const std::string& fault) {
    if (fault.empty()) return grpc::Status::OK;
    return {grpc::StatusCode::PERMISSION_DENIED, fault};
}

std::string property(const grpc::AuthContext& context, const char* name) {
    const auto found = context.FindPropertyValues(name);
    return found.empty() ? std::string() : std::string(found.front().data(), found.front().size());
}

}  // namespace

OperatorsOnly::OperatorsOnly(std::vector<std::string> names, std::vector<pki::Certificate> anchors,
                             std::vector<pki::Certificate> of_sites)
    : names_(std::move(names)), anchors_(std::move(anchors)), of_sites_(std::move(of_sites)) {}

grpc::Status OperatorsOnly::Process(const InputMetadata&, grpc::AuthContext* context,
                                    OutputMetadata*, OutputMetadata*) {
    const std::string pem = property(*context, "x509_pem_cert");
    const std::string chain = property(*context, "x509_pem_cert_chain");
    {
        const std::lock_guard lock(mutex_);
        const auto before = known_.find(pem);
        // In a resumed TLS session the peer shows no chain.
        const bool same =
            before != known_.end() &&
            (chain == before->second.chain || (chain.empty() && before->second.fault.empty()));
        if (same) return status_of(before->second.fault);
    }
    const std::string why = fault(pem, chain);
    const std::lock_guard lock(mutex_);
    if (known_.size() >= kMostKnown) known_.clear();
    known_[pem] = {chain, why};
    return status_of(why);
}

std::string OperatorsOnly::fault(const std::string& pem, const std::string& chain) const {
    const auto leaf = pki::parse_certificates(pem);
    if (leaf.empty()) return "no certificate was shown";
    const auto& certificate = leaf.front();
    const std::string name = certificate.common_name();
    constexpr const char* kNotHere = "it is for signalling, not for the operator's API";
    if (certificate.of_site())
        return fmt::format("the certificate of {} is a site's: {}", quoted(name), kNotHere);
    const auto others = pki::parse_certificates(chain);
    if (others.size() > kMostCertificates)
        return fmt::format("the certificate of {} was shown with {} others; at most {} may be",
                           quoted(name), others.size(), kMostCertificates);
    switch (pki::ancestry(certificate, others, anchors_, of_sites_)) {
        case pki::Ancestry::Tainted:
            return fmt::format("the certificate of {} is vouched for by a CA of sites: {}",
                               quoted(name), kNotHere);
        case pki::Ancestry::Unknown:
            return fmt::format(
                "the certificate of {} was shown without those between it and the CA of --tls-ca; "
                "show the whole chain",
                quoted(name));
        case pki::Ancestry::Clean:
            break;
    }
    const bool listed =
        names_.empty() || std::any_of(names_.begin(), names_.end(), [&](const auto& allowed) {
            return allowed == name || certificate.names(allowed);
        });
    if (listed) return {};
    return fmt::format("the certificate of {} is not of a name that --tls-client lists",
                       quoted(name));
}

}  // namespace dr::control
