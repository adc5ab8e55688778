// Builds the operators' gRPC server, with its limits and listeners.
#include "control/api/server.h"

#include <fmt/format.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "control/api/events.h"
#include "control/api/operators.h"
#include "control/api/policies.h"
#include "control/api/pools.h"
#include "control/api/resources.h"
#include "control/api/subscribers.h"
#include "control/api/system.h"
#include "control/api/tunnels.h"
#include "control/daemon/server_limits.h"
#include "pki/x509.h"
#include "process/paths.h"

namespace dr::control {
namespace {

// Bytes of a client's message. gRPC parses a message before it can be judged. That takes up to half
// a microsecond a byte (nested groups of unknown fields), 60 ms for this size. The largest object
// that may be stored has a tenth of it.
constexpr int kMaxRequest = 128 << 10;
constexpr int kMaxResponse = 16 << 20;
constexpr int kMaxThreads = 512;  // each open stream takes one; these are far fewer:
constexpr StreamLimit::Most kMostWatches{128, 96, 32};
constexpr StreamLimit::Most kMostApplies{32, 24, 8};
// Calls of a connection at a time. It does not bind a peer that never acknowledges the settings;
// OpenCalls does.
constexpr int kStreamsOfConnection = OpenCalls::kMostOfConnection / 2;
constexpr std::size_t kConnectionsOfSource = 128;
// Bytes read from a connection before the answers to them are written. 15 bytes may be a stream,
// which takes 11 KB until its refusal is sent. A message of drcli fits.
constexpr int kReadBytes = 64 << 10;
// Pings find a client that has vanished.
constexpr int kPingMs = 20'000;
constexpr int kPingTimeoutMs = 10'000;
constexpr std::chrono::milliseconds kStopPatience{500};

std::string read_file(const char* option, const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    if (!in || out.str().empty())
        throw StartError(
            fmt::format("{} {}: cannot be read: {}", option, path, std::strerror(errno)));
    return out.str();
}

// The name of a client on TCP, derived from its certificate.
std::string owner(const grpc::AuthContext& context) {
    const auto shown = context.FindPropertyValues("x509_pem_cert");
    const auto leaf = shown.empty()
                          ? std::vector<pki::Certificate>()
                          : pki::parse_certificates({shown.front().data(), shown.front().size()});
    if (leaf.empty()) return "nobody";
    const auto fingerprint = leaf.front().fingerprint();
    return "certificate " + std::string(fingerprint.begin(), fingerprint.end());
}

std::shared_ptr<grpc::ServerCredentials> tls(const Options& options,
                                             const std::vector<pki::Certificate>& of_sites,
                                             OpenCalls& calls) {
    grpc::SslServerCredentialsOptions ssl(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    ssl.pem_root_certs = read_file("--tls-ca", options.tls_ca);
    ssl.pem_key_cert_pairs.push_back(
        {read_file("--tls-key", options.tls_key), read_file("--tls-cert", options.tls_cert)});
    auto credentials = grpc::SslServerCredentials(ssl);
    credentials->SetAuthMetadataProcessor(std::make_shared<CallGate>(
        calls, owner,
        std::make_shared<OperatorsOnly>(options.tls_clients,
                                        pki::parse_certificates(ssl.pem_root_certs), of_sites)));
    return credentials;
}

int port_of(const std::string& address) {
    return std::atoi(address.c_str() + address.rfind(':') + 1);
}

// Creates the socket as the user, if that user may create files in the directory. Otherwise creates
// it as root, if only root may, and gives it to the user.
std::unique_ptr<UnixListener> listen_on_socket(const std::string& path,
                                               const Privileges& privileges) {
    const std::string directory = process::directory_of(path);
    privileges.make_socket_directory(directory);
    if (privileges.user_may_write(directory)) {
        const Privileges::Acting acting(privileges);
        privileges.require_own(directory);
        return std::make_unique<UnixListener>(path);
    }
    privileges.require_own(directory);
    auto listener = std::make_unique<UnixListener>(path);
    privileges.give_socket(path);
    return listener;
}

}  // namespace

struct Server::Services {
    PoolsService pools;
    PoliciesService policies;
    SubscribersService subscribers;
    ResourcesService resources;
    TunnelsService tunnels;
    SystemService system;
    EventsService events;
};

Server::Server(const Options& options, const Privileges& privileges, const Parts& p)
    : watches_("watches", kMostWatches),
      applies_("streams of Apply", kMostApplies),
      stalls_(StallGuard::kPatience, &calls_),
      services_(new Services{
          PoolsService(work_, p.catalog), PoliciesService(work_, p.catalog),
          SubscribersService(work_, p.catalog, p.feed, stopping_, p.credentials, p.hub, watches_,
                             p.journal),
          ResourcesService(p.catalog, applies_),
          TunnelsService(work_, p.catalog, p.link, stopping_, watches_),
          SystemService(work_, p.catalog, p.link, p.log, p.events, stopping_, watches_, p.journal),
          EventsService(work_, p.log, stopping_, watches_)}) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    const std::string& path = options.listen_socket;
    const bool tcp = !options.listen_tcp.empty();
    if (path.size() >= sizeof(sockaddr_un::sun_path))
        throw StartError(fmt::format("--listen unix:{}: the path is too long for a socket", path));
    grpc::ServerBuilder builder;
    if (tcp) {
        listener_.emplace("--listen", options.listen_tcp);
        listener_->limit_sources(kConnectionsOfSource, "the API");
        listener_->add_to(builder, tls(options, p.credentials.of_sites(), calls_));
    }
    if (!path.empty()) {
        on_socket_ = listen_on_socket(path, privileges);
        on_socket_->add_to(builder, [this](const UnixListener::User& user) {
            return std::make_shared<CallGate>(calls_,
                                              [user](const grpc::AuthContext&) { return user(); });
        });
    }
    builder.SetMaxReceiveMessageSize(kMaxRequest);
    builder.SetMaxSendMessageSize(kMaxResponse);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
    stalls_.add_to(builder);
    stalls_.serves(path, tcp ? port_of(options.listen_tcp) : -1);
    limit_memory(builder, "drd", kMaxThreads);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsOfConnection);
    builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kReadBytes);
    builder.RegisterService(&services_->pools);
    builder.RegisterService(&services_->policies);
    builder.RegisterService(&services_->subscribers);
    builder.RegisterService(&services_->resources);
    builder.RegisterService(&services_->tunnels);
    builder.RegisterService(&services_->system);
    builder.RegisterService(&services_->events);
    server_ = builder.BuildAndStart();
    if (!server_)
        throw StartError(
            fmt::format("--listen {}: cannot listen there; are --tls-cert, --tls-key "
                        "and --tls-ca PEM files, and is the key the certificate's?",
                        tcp ? options.listen_tcp : "unix:" + path));
    if (listener_) listener_->start();
    if (on_socket_) on_socket_->start();
}

Server::~Server() {
    stop();
}

void Server::stop() {
    stopping_.stop();
    if (listener_) listener_->stop();
    if (on_socket_) on_socket_->stop();
    stalls_.stop();
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + kStopPatience);
    server_.reset();
}

}  // namespace dr::control
