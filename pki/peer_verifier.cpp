// Checks the peer's certificate in gRPC's TLS handshake.
#include "pki/peer_verifier.h"

#include <stdlib.h>

#include <algorithm>

namespace dr::pki {
namespace {

using grpc::experimental::ExternalCertificateVerifier;
using grpc::experimental::TlsCustomVerificationCheckRequest;

std::string_view view(const grpc::string_ref& text) {
    return {text.data(), text.size()};
}

class PeerVerifier final : public ExternalCertificateVerifier {
  public:
    PeerVerifier(std::vector<Certificate> anchors, Purpose purpose, std::vector<std::string> names,
                 LeafCheck also, Refused refused)
        : anchors_(std::move(anchors)),
          purpose_(purpose),
          names_(std::move(names)),
          also_(std::move(also)),
          refused_(std::move(refused)) {}

    bool Verify(TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
                grpc::Status* status) override {
        const auto leaf = parse_certificates(view(request->peer_cert()));
        const std::string why = fault(*request, leaf);
        if (!why.empty() && refused_)
            refused_(leaf.empty() ? std::string() : leaf.front().common_name(), why);
        *status =
            why.empty() ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNAUTHENTICATED, why);
        return true;
    }
    void Cancel(TlsCustomVerificationCheckRequest*) override {}

  private:
    [[nodiscard]] std::string fault(const TlsCustomVerificationCheckRequest& request,
                                    const std::vector<Certificate>& leaf) const {
        if (leaf.empty()) return "the peer has shown no certificate";
        // A client's view of the chain begins with the leaf, a server's does not; both will do.
        std::vector<Certificate> others;
        if (!request.peer_cert_full_chain().empty())
            others = parse_certificates(view(request.peer_cert_full_chain()));
        if (auto why = check_chain(leaf.front(), others, anchors_, purpose_); !why.empty())
            return "the peer's certificate: " + why;
        const bool named = names_.empty() ||
                           std::any_of(names_.begin(), names_.end(),
                                       [&](const auto& name) { return leaf.front().names(name); });
        if (!named) return "the peer's certificate does not carry the name " + names_.front();
        return also_ ? also_(view(request.peer_cert())) : std::string();
    }

    std::vector<Certificate> anchors_;
    Purpose purpose_;
    std::vector<std::string> names_;
    LeafCheck also_;
    Refused refused_;
};

}  // namespace

std::shared_ptr<grpc::experimental::CertificateVerifier> peer_verifier(
    const std::string& anchors, Purpose purpose, std::vector<std::string> names, LeafCheck also,
    Refused refused) {
    auto certificates = parse_certificates(anchors);
    if (certificates.empty()) throw PkiError("no CA certificate in PEM to trust");
#ifdef __clang_analyzer__
    return nullptr;  // it takes gRPC's handing over of the verifier to its C core for a leak
#endif
    return ExternalCertificateVerifier::Create<PeerVerifier>(
        std::move(certificates), purpose, std::move(names), std::move(also), std::move(refused));
}

void require_tls13() {
    // Needs a pre-shared key, which nobody has.
    ::setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES128-GCM-SHA256", 1);
}

}  // namespace dr::pki
