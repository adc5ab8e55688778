#include "control/signalling/server.h"

#include <fmt/format.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "control/ca/peer_verifier.h"

namespace dr::control {
namespace {

using grpc::experimental::IdentityKeyCertPair;
using grpc::experimental::StaticDataCertificateProvider;
using grpc::experimental::TlsServerCredentialsOptions;

constexpr int kMaxMessage = 64 << 10;  // of a UR: a hello of 16 lines
constexpr int kPingMs = 20'000;
constexpr int kPingTimeoutMs = 10'000;
constexpr int kLeastPingMs = 4'000;  // a UR that pings more often is cut off
constexpr int kStreamsOfConnection = 4;

std::string_view view(const grpc::string_ref& text) {
    return {text.data(), text.size()};
}

std::string property(const grpc::AuthContext& context, const char* name) {
    const auto values = context.FindPropertyValues(name);
    return values.empty() ? std::string() : std::string(view(values.front()));
}

PeerIdentity identity(const grpc::CallbackServerContext& context) {
    PeerIdentity peer;
    const auto auth = context.auth_context();
    peer.address = context.peer();
    const auto leaf = pki::parse_certificates(property(*auth, "x509_pem_cert"));
    if (leaf.empty()) return peer;
    peer.certificate = leaf.front();
    peer.subscriber = leaf.front().common_name();
    peer.chain = pki::parse_certificates(property(*auth, "x509_pem_cert_chain"));
    return peer;
}

// A stream that is refused before there is a session.
class Refusal final : public grpc::ServerBidiReactor<v1::UrMessage, v1::DrMessage> {
  public:
    explicit Refusal(grpc::Status status) { Finish(std::move(status)); }
    void OnDone() override { delete this; }
};

std::shared_ptr<grpc::ServerCredentials> credentials_of(Credentials& credentials) {
    const pki::Issued own = credentials.server();
    TlsServerCredentialsOptions tls(std::make_shared<StaticDataCertificateProvider>(
        credentials.anchors(),
        std::vector<IdentityKeyCertPair>{{own.private_key, own.certificate}}));
    tls.watch_identity_key_cert_pairs();
    tls.watch_root_certs();
    tls.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
    tls.set_certificate_verifier(pki::peer_verifier(credentials.anchors(), pki::Purpose::Client));
    return grpc::experimental::TlsServerCredentials(tls);
}

}  // namespace

class SignallingServer::Service final : public v1::Signalling::CallbackService {
  public:
    explicit Service(SignallingHub& hub) : hub_(hub) {}

    grpc::ServerBidiReactor<v1::UrMessage, v1::DrMessage>* Attach(
        grpc::CallbackServerContext* context) override {
        PeerIdentity peer = identity(*context);
        if (!peer.certificate || peer.subscriber.empty())
            return new Refusal({grpc::StatusCode::UNAUTHENTICATED,
                                "a certificate with the subscriber's name as common name is "
                                "needed; drcli subscriber enroll issues one"});
        const auto session = std::make_shared<SignallingSession>(hub_, std::move(peer), *context);
        session->start();
        return session.get();
    }

  private:
    SignallingHub& hub_;
};

SignallingServer::SignallingServer(const Options& options, Credentials& credentials,
                                   SignallingHub& hub)
    : service_(std::make_unique<Service>(hub)), listener_("--signalling", options.signalling) {
    grpc::ServerBuilder builder;
    listener_.add_to(builder, credentials_of(credentials));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kLeastPingMs);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsOfConnection);
    builder.SetMaxReceiveMessageSize(kMaxMessage);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    if (!server_)
        throw StartError(fmt::format("--signalling {}: cannot be served", options.signalling));
    listener_.start();
}

SignallingServer::~SignallingServer() {
    stop();
}

void SignallingServer::stop() {
    listener_.stop();
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
    server_.reset();
}

}  // namespace dr::control
