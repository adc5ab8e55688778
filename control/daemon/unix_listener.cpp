// Accepts connections of the Unix socket and sorts them by user.
#include "control/daemon/unix_listener.h"

#include <fmt/format.h>
#include <grpcpp/security/server_credentials.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "control/daemon/connections.h"
#include "control/daemon/options.h"
#include "process/unix_socket.h"

namespace dr::control {
namespace {

constexpr int kBacklog = 1024;
constexpr mode_t kModeMask = 0117;  // leaves 0660
constexpr int kBreathMs = 100;      // when the system has no descriptor or memory left
constexpr std::chrono::minutes kSayAgain{1};

// -1: the kernel does not say.
std::int64_t user_of(int fd) {
    ucred peer{};
    socklen_t size = sizeof peer;
    return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.uid : -1;
}

}  // namespace

UnixListener::UnixListener(const std::string& path)
    : path_(path),
      socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    std::string why;
    if (!process::remove_dead_socket(path, SOCK_STREAM, &why))
        throw StartError(fmt::format("--listen unix:{}: {}", path, why));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const mode_t before = ::umask(kModeMask);
    const int bound = ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::umask(before);
    if (bound != 0 || ::listen(socket_.get(), kBacklog) != 0)
        throw StartError(fmt::format(
            "--listen unix:{}: cannot listen there: {}; may this user make a socket in that "
            "directory?",
            path, std::strerror(errno)));
    for (std::size_t i = 0; i < kMostUsers; ++i) desks_.push_back(std::make_unique<Desk>());
    desks_.back()->user = kOthers;
}

UnixListener::~UnixListener() {
    stop();
}

void UnixListener::add_to(
    grpc::ServerBuilder& builder,
    const std::function<std::shared_ptr<grpc::AuthMetadataProcessor>(const User&)>& gate) {
    for (auto& desk : desks_) {
        auto credentials = grpc::experimental::LocalServerCredentials(UDS);
        credentials->SetAuthMetadataProcessor(gate([at = desk.get()] {
            const std::int64_t user = at->user;
            return user == kOthers ? std::string("other users") : fmt::format("user {}", user);
        }));
        desk->acceptor = builder.experimental().AddExternalConnectionAcceptor(
            grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
    }
}

void UnixListener::start() {
    thread_ = std::thread([this] { run(); });
}

void UnixListener::stop() {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(wake_.get(), &one, sizeof one);
    thread_.join();
    ::unlink(path_.c_str());
}

void UnixListener::run() {
    std::array<pollfd, 2> waiting{pollfd{wake_.get(), POLLIN, 0}, pollfd{socket_.get(), POLLIN, 0}};
    for (;;) {
        if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
        if (waiting[0].revents != 0) return;
        if (waiting[1].revents != 0) accept_one();
    }
}

// The user's own desk, or a free one, or the last one, which all other users share.
UnixListener::Desk& UnixListener::desk_of(std::int64_t user) {
    Desk* unused = nullptr;
    for (auto& desk : desks_) {
        std::erase_if(desk->connections,
                      [](const Connection& c) { return socket_cookie(c.fd) != c.cookie; });
        if (desk->user == user) return *desk;
        const bool empty = desk->connections.empty() && desk->user != kOthers;
        if (unused == nullptr && empty) unused = desk.get();
    }
    if (unused == nullptr) return *desks_.back();
    unused->user = user;
    return *unused;
}

void UnixListener::accept_one() {
    FileDescriptor fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) {
        const int error = errno;
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
            pollfd end{wake_.get(), POLLIN, 0};
            ::poll(&end, 1, kBreathMs);
        }
        return;
    }
    const std::int64_t user = user_of(fd.get());
    if (user < 0) return;
    Desk& desk = desk_of(user);
    while (desk.connections.size() >= kMostOfUser) {
        shut_socket(desk.connections.front().fd, desk.connections.front().cookie);
        desk.connections.pop_front();
        const auto now = std::chrono::steady_clock::now();
        if (said_ != decltype(said_){} && now - said_ < kSayAgain) continue;
        said_ = now;
        std::fprintf(stderr,
                     "drd: warning: user %lld has %zu connections to the API, and one more has "
                     "come: the oldest one is ended\n",
                     static_cast<long long>(user), kMostOfUser);
    }
    desk.connections.push_back({fd.get(), socket_cookie(fd.get())});
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = fd.release();
    desk.acceptor->HandleNewConnection(&parameters);
}

}  // namespace dr::control
