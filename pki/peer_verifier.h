// The check of the peer in the TLS handshake, at both ends of signalling, in place of gRPC's own
// check: chain and name, and no dates (x509.h).
#pragma once

#include <grpcpp/security/tls_certificate_verifier.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pki/x509.h"

namespace dr::pki {

// A verifier for TlsCredentialsOptions: the peer's chain ends at one of `anchors` (PEM) and, unless
// `names` is empty, its certificate carries one of them. It must be the only check: switch gRPC's
// off (set_verify_server_certs(false), set_check_call_host(false);
// GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_BUT_DONT_VERIFY). Throws PkiError when there are
// no certificates in `anchors`. `also`: called with the leaf (PEM) of a peer that has passed;
// returns a reason to refuse it, or empty. `refused` is called for each refused peer, with the name
// that its certificate claims, and the reason. Any thread.
using Refused = std::function<void(const std::string& name, const std::string& why)>;
using LeafCheck = std::function<std::string(std::string_view leaf)>;
std::shared_ptr<grpc::experimental::CertificateVerifier> peer_verifier(
    const std::string& anchors, Purpose purpose, std::vector<std::string> names = {},
    LeafCheck also = {}, Refused refused = {});

// Limits gRPC in this process to TLS 1.3. gRPC has no option for that, so TLS 1.2 gets no cipher
// suite that works with a certificate. Before the process's first use of gRPC.
void require_tls13();

}  // namespace dr::pki
