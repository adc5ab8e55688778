// Accepts TCP connections in gRPC's place and keeps descriptors in reserve.
#include "control/daemon/listener.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "control/daemon/options.h"

namespace dr::control {
namespace {

constexpr rlim_t kMostKept = 256;  // descriptors that no connection gets; of a small limit a half
// Memory of a peer that has begun a handshake: 70 KB measured.
constexpr std::uint64_t kPeerBytes = 128 << 10;
constexpr int kBacklog = 1024;
constexpr int kHandshakeMs = 10'000;
constexpr int kIdleMs = 60'000;
constexpr int kWatchedIdleMs = 10'000;
// Unread bytes of a watched connection, in the kernel and in one read of gRPC: the work that a peer
// can cause before it is judged. A UR sends less.
constexpr int kReceiveBytes = 8 << 10;
constexpr int kReadBytes = 4 << 10;
// Time between two checks for connections that send too much, or nothing.
constexpr int kLookMs = 5;
constexpr int kSweepMs = 2'000;
constexpr int kTurn = 64;  // connections taken before the end is asked about again
constexpr std::chrono::minutes kSayAgain{1};
constexpr int kBreathMs = 100;  // when the system has no descriptor or memory left

rlim_t descriptor_limit() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

struct Resolved {
    addrinfo* first = nullptr;
    ~Resolved() {
        if (first != nullptr) ::freeaddrinfo(first);
    }
};

// "[2001:db8::1]:4755" -> "2001:db8::1", "4755".
std::pair<std::string, std::string> split(const std::string& address) {
    const auto colon = address.rfind(':');
    std::string host = address.substr(0, colon);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    return {host, address.substr(colon + 1)};
}

std::string text_of(const addrinfo& address) {
    std::array<char, NI_MAXHOST> text{};
    const int error = ::getnameinfo(address.ai_addr, address.ai_addrlen, text.data(), text.size(),
                                    nullptr, 0, NI_NUMERICHOST);
    return error == 0 ? text.data() : ::gai_strerror(error);
}

void set(int socket, int level, int name, int value) {
    ::setsockopt(socket, level, name, &value, sizeof value);
}

// A socket that listens there, or an invalid one and errno.
FileDescriptor listen_on(const sockaddr* address, socklen_t length, bool both_families) {
    FileDescriptor fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return fd;
    set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    set(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);  // connections inherit it
    if (address->sa_family == AF_INET6)
        set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, both_families ? 0 : 1);
    if (::bind(fd.get(), address, length) == 0 && ::listen(fd.get(), kBacklog) == 0) return fd;
    const int error = errno;
    fd = FileDescriptor();
    errno = error;
    return fd;
}

// Every address: one socket for both families, where this machine has IPv6.
FileDescriptor listen_everywhere(const std::string& port) {
    const auto number = static_cast<std::uint16_t>(std::stoul(port));
    sockaddr_in6 all{};
    all.sin6_family = AF_INET6;
    all.sin6_port = htons(number);
    FileDescriptor fd = listen_on(reinterpret_cast<const sockaddr*>(&all), sizeof all, true);
    if (fd.valid() || errno == EADDRINUSE || errno == EACCES) return fd;
    sockaddr_in all4{};
    all4.sin_family = AF_INET;
    all4.sin_port = htons(number);
    return listen_on(reinterpret_cast<const sockaddr*>(&all4), sizeof all4, false);
}

// Each address of the name that this machine has, once, however often it is listed. Empty: `why`.
std::vector<FileDescriptor> listen_at(const std::string& host, const std::string& port,
                                      std::string& why) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    Resolved found;
    const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found.first);
    if (error != 0) why = ::gai_strerror(error);
    std::vector<FileDescriptor> sockets;
    std::set<std::string> seen;
    for (const auto* at = found.first; at != nullptr; at = at->ai_next) {
        if (!seen.emplace(reinterpret_cast<const char*>(at->ai_addr), at->ai_addrlen).second)
            continue;
        FileDescriptor fd = listen_on(at->ai_addr, at->ai_addrlen, false);
        if (fd.valid()) {
            sockets.push_back(std::move(fd));
            continue;
        }
        const int missing = errno;
        why = fmt::format("{}: {}", text_of(*at), std::strerror(missing));
        // A name may have addresses of a family that this machine does not speak.
        if (missing != EADDRNOTAVAIL && missing != EAFNOSUPPORT) return {};
    }
    return sockets;
}

}  // namespace

std::uint64_t descriptors_for(std::uint64_t soft, std::uint64_t hard, std::uint64_t memory) {
    return std::max(soft, std::min(hard, memory / 4 / kPeerBytes));
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    const auto pages = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    limit.rlim_cur = descriptors_for(limit.rlim_cur, limit.rlim_max, pages * page);
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

Listener::Listener(const std::string& option, const std::string& address)
    : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    const rlim_t limit = std::min<rlim_t>(descriptor_limit(), 1U << 30);
    last_descriptor_ = static_cast<int>(limit - std::min(kMostKept, limit / 2)) - 1;
    const auto fail = [&](const std::string& why) {
        throw StartError(fmt::format("{} {}: cannot listen there: {}", option, address, why));
    };
    const auto [host, port] = split(address);
    unsigned long number = 0;
    try {
        number = std::stoul(port);
    } catch (const std::exception&) {
    }
    if (number == 0 || number > 65535) fail("the port must be 1 to 65535");
    if (host == "0.0.0.0" || host == "::" || host == "*") {
        sockets_.push_back(listen_everywhere(port));
        if (!sockets_.back().valid()) fail(std::strerror(errno));
    } else {
        std::string why;
        sockets_ = listen_at(host, port, why);
        if (sockets_.empty()) fail(why);
    }
}

Listener::~Listener() {
    stop();
}

void Listener::add_to(grpc::ServerBuilder& builder,
                      const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                               watched_ ? kWatchedIdleMs : kIdleMs);
    if (watched_) {
        builder.AddChannelArgument(GRPC_ARG_TCP_READ_CHUNK_SIZE, kReadBytes);
        builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kReadBytes);
    }
    acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
}

Connections& Listener::watch_connections() {
    Connections::Limits limits;
    limits.of_source = static_cast<std::size_t>(std::max(2, last_descriptor_ / 2));
    limits.of_unknown = limits.of_source;
    connections_.emplace(limits);
    watched_ = true;
    for (const auto& socket : sockets_)  // connections inherit it
        set(socket.get(), SOL_SOCKET, SO_RCVBUF, kReceiveBytes);
    return *connections_;
}

void Listener::limit_sources(std::size_t most, const char* server) {
    Connections::Limits limits;
    limits.of_source = most;
    limits.watched = false;
    connections_.emplace(limits, server);
}

void Listener::start() {
    thread_ = std::thread([this] { run(); });
}

void Listener::stop() {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(wake_.get(), &one, sizeof one);
    thread_.join();
}

void Listener::run() {
    std::vector<pollfd> waiting{{wake_.get(), POLLIN, 0}};
    for (const auto& socket : sockets_) waiting.push_back({socket.get(), POLLIN, 0});
    const std::size_t listening = waiting.size();
    if (connections_) waiting.push_back({connections_->readable(), POLLIN, 0});
    auto looked = std::chrono::steady_clock::now();
    for (;;) {
        // A flood of packets does not cause more checks.
        const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::steady_clock::now() - looked);
        const bool rest = connections_ && passed.count() < kLookMs;
        const int wait = !connections_ ? -1 : rest ? kLookMs : kSweepMs;
        const std::size_t count = rest ? listening : waiting.size();
        if (::poll(waiting.data(), count, wait) < 0 && errno != EINTR) return;
        if (waiting[0].revents != 0) return;
        if (connections_ && !rest) {
            connections_->look();
            looked = std::chrono::steady_clock::now();
        }
        for (std::size_t i = 1; i < listening; ++i)
            for (int n = 0; n < kTurn && waiting[i].revents != 0; ++n)
                if (!accept_one(waiting[i].fd)) break;
    }
}

bool Listener::accept_one(int socket) {
    FileDescriptor fd(::accept4(socket, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) {
        const int error = errno;
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
            pollfd end{wake_.get(), POLLIN, 0};
            ::poll(&end, 1, kBreathMs);
        }
        // A connection that the peer has already ended is not a reason to stop.
        return error == EINTR || error == ECONNABORTED;
    }
    if (fd.get() > last_descriptor_) {
        say_full();
        return true;
    }
    if (connections_ && !connections_->add(fd.get())) return true;
    Acceptor::NewConnectionParameters parameters;
    parameters.fd = fd.release();
    acceptor_->HandleNewConnection(&parameters);
    return true;
}

void Listener::say_full() {
    const auto now = std::chrono::steady_clock::now();
    if (said_full_ != decltype(now){} && now - said_full_ < kSayAgain) return;
    said_full_ = now;
    std::fprintf(stderr,
                 "drd: a connection is refused: %d descriptors are in use; raise the limit (ulimit "
                 "-n) or look for who holds them\n",
                 last_descriptor_ + 1);
}

}  // namespace dr::control
