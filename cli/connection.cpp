// Opens drcli's channel to drd and sets deadlines of calls.
#include "cli/connection.h"

#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "cli/errors.h"

namespace dr::cli {
namespace {

// A page of 10000 subscribers with all their tunnels fits.
constexpr int kMaxMessageBytes = 64 * 1024 * 1024;

constexpr int kReconnectMs = 100;

std::string read_file(const char* option, const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file) {
        throw Failure(kExitUsage,
                      fmt::format("{} {}: cannot be read: {}", option, path, std::strerror(errno)));
    }
    return text;
}

std::shared_ptr<grpc::ChannelCredentials> credentials_for(const GlobalOptions& options) {
    if (is_local(options.server)) {
        return grpc::InsecureChannelCredentials();
    }
    if (options.tls_cert.empty() || options.tls_key.empty() || options.tls_ca.empty()) {
        throw Failure(kExitUsage,
                      fmt::format("{} is reached by TCP, which needs --tls-cert, --tls-key and "
                                  "--tls-ca (a local server is unix:PATH)",
                                  options.server));
    }
    grpc::SslCredentialsOptions tls;
    tls.pem_cert_chain = read_file("--tls-cert", options.tls_cert);
    tls.pem_private_key = read_file("--tls-key", options.tls_key);
    tls.pem_root_certs = read_file("--tls-ca", options.tls_ca);
    return grpc::SslCredentials(tls);
}

// gRPC reports only that a socket failed; the kernel says why.
std::string unix_error(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return fmt::format("the path is longer than {} bytes", sizeof address.sun_path - 1);
    }
    path.copy(address.sun_path, path.size());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool failed =
        ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0;
    const int error = errno;
    close(fd);
    if (!failed) {
        return "it takes connections, but does not answer";
    }
    const char* hint = error == ENOENT || error == ECONNREFUSED ? " (is drd running?)" : "";
    return fmt::format("{}{}", std::strerror(error), hint);
}

// The same for a TCP server, HOST:PORT: whether it cannot be reached, or TLS fails.
std::string tcp_error(const std::string& server) {
    const auto colon = server.rfind(':');
    std::string host = server.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    addrinfo wanted{};
    wanted.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const std::string port = colon == std::string::npos ? "" : server.substr(colon + 1);
    if (const int error = getaddrinfo(host.c_str(), port.c_str(), &wanted, &found); error != 0) {
        return gai_strerror(error);
    }
    std::string why;
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
        const int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        const timeval patience{.tv_sec = 2, .tv_usec = 0};  // bounds connect() as well
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        const bool connected = ::connect(fd, at->ai_addr, at->ai_addrlen) == 0;
        why = connected ? "" : errno == EINPROGRESS ? "no answer" : std::strerror(errno);
        close(fd);
        if (connected) break;
    }
    freeaddrinfo(found);
    if (!why.empty()) {
        return why;
    }
    return "it takes connections, but TLS fails: --tls-ca must have signed the server's "
           "certificate, which must name the host; the server's --tls-ca must have signed "
           "--tls-cert; --tls-key must be the key of --tls-cert";
}

}  // namespace

bool is_local(const std::string& server) {
    return server.starts_with("unix:") || server.starts_with("/");
}

std::string target_of(const std::string& server) {
    return server.starts_with("/") ? "unix:" + server : server;
}

std::string connection_failure(const GlobalOptions& options) {
    if (is_local(options.server)) {
        auto path = target_of(options.server).substr(std::strlen("unix:"));
        return unix_error(path.starts_with("//") ? path.substr(2) : path);
    }
    return tcp_error(options.server);
}

std::shared_ptr<grpc::Channel> make_channel(const GlobalOptions& options) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
    // Does not use the web proxy of the shell's environment.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    // `system wait` may begin before drd listens, and must not notice it seconds late.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
    return grpc::CreateCustomChannel(target_of(options.server), credentials_for(options),
                                     arguments);
}

void connect(grpc::Channel& channel, const GlobalOptions& options) {
    const auto deadline = std::chrono::system_clock::now() + kConnectTimeout;
    for (auto state = channel.GetState(true); state != GRPC_CHANNEL_READY;
         state = channel.GetState(true)) {
        if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) {
            throw Failure(kExitUsage, fmt::format("cannot connect to {}: {}", options.server,
                                                  connection_failure(options)));
        }
        if (!channel.WaitForStateChange(state, deadline)) {
            throw Failure(kExitUsage, fmt::format("cannot connect to {}: no answer in {} s",
                                                  options.server, kConnectTimeout.count()));
        }
    }
}

const std::shared_ptr<grpc::Channel>& Context::channel() {
    if (!channel_) {
        auto channel = make_channel(options);
        connect(*channel, options);
        channel_ = std::move(channel);
    }
    return channel_;
}

}  // namespace dr::cli
