// Builds the signalling server and checks the certificate of each stream.
#include "control/signalling/server.h"

#include <fmt/format.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "control/daemon/server_limits.h"
#include "control/signalling/session.h"
#include "pki/peer_verifier.h"

namespace dr::control {
namespace {

using grpc::experimental::IdentityKeyCertPair;
using grpc::experimental::StaticDataCertificateProvider;
using grpc::experimental::TlsServerCredentialsOptions;

constexpr int kMaxMessage = 64 << 10;  // of a UR: a hello of 16 lines
constexpr int kPingMs = 20'000;
constexpr int kPingTimeoutMs = 10'000;
constexpr int kLeastPingMs = 4'000;  // a UR that pings more often is cut off
// A UR has one stream, and for a moment two while it attaches again. This limit does not bind a
// peer that never acknowledges the settings; the gate does.
constexpr int kStreamsOfConnection = 2;
constexpr int kMaxHeaderBytes = 8 << 10;
constexpr std::chrono::milliseconds kStopPatience{500};

std::string_view view(const grpc::string_ref& text) {
    return {text.data(), text.size()};
}

std::string property(const grpc::AuthContext& context, const char* name) {
    const auto values = context.FindPropertyValues(name);
    return values.empty() ? std::string() : std::string(view(values.front()));
}

PeerIdentity identity(const grpc::CallbackServerContext& context, const std::string& certificate) {
    PeerIdentity peer;
    const auto auth = context.auth_context();
    peer.address = context.peer();
    peer.key = Gate::key_of(certificate);
    const auto leaf = pki::parse_certificates(certificate);
    if (leaf.empty()) return peer;
    peer.certificate = leaf.front();
    peer.subscriber = leaf.front().common_name();
    peer.chain = pki::parse_certificates(property(*auth, "x509_pem_cert_chain"));
    return peer;
}

constexpr const char* kCertificate = "x509_pem_cert";
constexpr const char* kConnectsTooOften = "its owner connects too often";

grpc::Status too_many_streams() {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "this certificate begins too many streams"};
}

// Asked by gRPC's core about each stream as soon as its headers are there, on the thread that reads
// the connection: a refusal here is the cheapest.
class StreamGate final : public grpc::AuthMetadataProcessor {
  public:
    StreamGate(Gate& gate, Connections& connections) : gate_(gate), connections_(connections) {}
    [[nodiscard]] bool IsBlocking() const override { return false; }
    grpc::Status Process(const InputMetadata&, grpc::AuthContext* context, OutputMetadata*,
                         OutputMetadata*) override {
        const std::string certificate = property(*context, kCertificate);
        const bool before = gate_.flooding(certificate);
        if (gate_.stream(certificate)) return grpc::Status::OK;
        // Once is enough: a connection that is not known yet is ended when it becomes known.
        if (!before) connections_.cut_all(Gate::key_of(certificate));
        return too_many_streams();
    }

  private:
    Gate& gate_;
    Connections& connections_;
};

// A stream that is refused before there is a session.
class Refusal final : public grpc::ServerBidiReactor<v1::UrMessage, v1::DrMessage> {
  public:
    explicit Refusal(grpc::Status status) { Finish(std::move(status)); }
    explicit Refusal(const v1::Refused& why) {
        *message_.mutable_refused() = why;
        StartWriteAndFinish(&message_, grpc::WriteOptions(), {code_of(why.reason()), why.text()});
    }
    void OnDone() override { delete this; }

  private:
    v1::DrMessage message_;
};

// All outlive the server.
std::shared_ptr<grpc::ServerCredentials> credentials_of(Credentials& credentials, Gate& gate,
                                                        Connections& connections,
                                                        SignallingHub& hub) {
    const pki::Issued own = credentials.server();
    TlsServerCredentialsOptions tls(std::make_shared<StaticDataCertificateProvider>(
        credentials.anchors(),
        std::vector<IdentityKeyCertPair>{{own.private_key, own.certificate}}));
    tls.watch_identity_key_cert_pairs();
    tls.watch_root_certs();
    tls.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
    tls.set_certificate_verifier(pki::peer_verifier(
        credentials.anchors(), pki::Purpose::Client, {},
        [&gate](std::string_view leaf) {
            return gate.handshake(leaf) ? std::string() : kConnectsTooOften;
        },
        [&hub](const std::string& name, const std::string& why) {
            // Its certificate is valid, so its name is proven.
            if (why == kConnectsTooOften)
                hub.site_refused(name, why);
            else
                hub.stranger(name, why);
        }));
    auto server = grpc::experimental::TlsServerCredentials(tls);
    server->SetAuthMetadataProcessor(std::make_shared<StreamGate>(gate, connections));
    return server;
}

}  // namespace

class SignallingServer::Service final : public v1::Signalling::CallbackService {
  public:
    Service(SignallingHub& hub, Gate& gate, Connections& connections)
        : hub_(hub), gate_(gate), connections_(connections) {}

    grpc::ServerBidiReactor<v1::UrMessage, v1::DrMessage>* Attach(
        grpc::CallbackServerContext* context) override {
        const std::string certificate = property(*context->auth_context(), kCertificate);
        if (gate_.flooding(certificate)) {
            connections_.cut(context->peer());
            return new Refusal(too_many_streams());
        }
        PeerIdentity peer = identity(*context, certificate);
        if (!peer.certificate || peer.subscriber.empty())
            return new Refusal({grpc::StatusCode::UNAUTHENTICATED,
                                "a certificate with the subscriber's name as common name is "
                                "needed; drcli subscriber enroll issues one"});
        const auto refused = refusal(peer);
        connections_.known(peer.address, peer.key, refused ? std::string() : peer.subscriber);
        if (refused) return new Refusal(*refused);
        const auto session =
            std::make_shared<SignallingSession>(hub_, gate_, std::move(peer), *context);
        session->start();
        const auto before = gate_.supersede(certificate, session);
        if (before)
            before->end(v1::Refused::SUPERSEDED, "the same certificate has begun another stream");
        return session.get();
    }

  private:
    // If the store cannot be read, the hub reports it.
    std::optional<v1::Refused> refusal(const PeerIdentity& peer) {
        try {
            return hub_.refusal(peer);
        } catch (const StoreError&) {
            return std::nullopt;
        }
    }

    SignallingHub& hub_;
    Gate& gate_;
    Connections& connections_;
};

SignallingServer::SignallingServer(const Options& options, Credentials& credentials,
                                   SignallingHub& hub)
    : listener_("--signalling", options.signalling),
      connections_(listener_.watch_connections()),
      service_(std::make_unique<Service>(hub, gate_, connections_)) {
    grpc::ServerBuilder builder;
    listener_.add_to(builder, credentials_of(credentials, gate_, connections_, hub));
    without_plugins(builder);
    limit_memory(builder, "signalling");
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kLeastPingMs);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsOfConnection);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxHeaderBytes);
    // The window does not grow: a UR may send one message before it is read.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kMaxMessage);
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
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + kStopPatience);
    server_.reset();
}

}  // namespace dr::control
