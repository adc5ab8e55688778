// Bytes between gRPC's socket and a TCP connection on a line.
#include "ur/signalling/relay.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <random>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

namespace dr::ur {
namespace {

using Clock = std::chrono::steady_clock;

// Unacknowledged for this long, the connection is dead, as gRPC's pings have it.
constexpr int kUserTimeoutMs = 15'000;

class Socket {
  public:
    explicit Socket(int fd = -1) : fd_(fd) {}
    Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Socket& operator=(Socket&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] bool valid() const { return fd_ >= 0; }

  private:
    int fd_;
};

std::string text_of(int error) {
    return std::generic_category().message(error);
}

// A name in the abstract namespace, which is this network namespace's and leaves no file.
sockaddr_un address_of(const std::string& name, socklen_t& length) {
    sockaddr_un out{};
    out.sun_family = AF_UNIX;
    std::memcpy(out.sun_path + 1, name.data(), name.size());
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    return out;
}

// What was read of one end and not yet written to the other.
class Flow {
  public:
    [[nodiscard]] bool wants_input() const { return used_ == 0; }
    [[nodiscard]] bool has_output() const { return used_ != 0; }

    // False: `from` has ended.
    bool read(int from) {
        const ssize_t n = ::recv(from, bytes_.data(), bytes_.size(), MSG_DONTWAIT);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        used_ = static_cast<std::size_t>(n);
        at_ = 0;
        return n > 0;
    }
    // False: `to` takes nothing any more.
    bool write(int to) {
        const ssize_t n = ::send(to, bytes_.data() + at_, used_ - at_, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        at_ += static_cast<std::size_t>(n);
        if (at_ == used_) used_ = at_ = 0;
        return true;
    }

  private:
    std::array<char, 16 << 10> bytes_;
    std::size_t used_ = 0;
    std::size_t at_ = 0;
};

short events_of(const Flow& in, const Flow& out) {
    return static_cast<short>((in.wants_input() ? POLLIN : 0) | (out.has_output() ? POLLOUT : 0));
}

// Until either end closes.
void carry(int local, int remote) {
    Flow up;
    Flow down;
    for (;;) {
        std::array<pollfd, 2> ends{pollfd{local, events_of(up, down), 0},
                                   pollfd{remote, events_of(down, up), 0}};
        if (::poll(ends.data(), ends.size(), -1) < 0) {
            if (errno == EINTR) continue;
            return;
        }
        const auto readable = [](const pollfd& end) {
            return (end.events & POLLIN) != 0 && (end.revents & (POLLIN | POLLHUP | POLLERR)) != 0;
        };
        if (readable(ends[0]) && !up.read(local)) return;
        if (readable(ends[1]) && !down.read(remote)) return;
        if (up.has_output() && !up.write(remote)) return;
        if (down.has_output() && !down.write(local)) return;
        // An end that has closed while what it sent cannot be passed on.
        for (const auto& end : ends)
            if ((end.revents & (POLLHUP | POLLERR)) != 0 && !readable(end)) return;
    }
}

// 0, or the error.
int connect_until(int socket, const addrinfo& to, Clock::time_point deadline) {
    if (::connect(socket, to.ai_addr, to.ai_addrlen) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    for (;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) return ETIMEDOUT;
        pollfd one{socket, POLLOUT, 0};
        const int n = ::poll(&one, 1, static_cast<int>(left));
        if (n < 0 && errno != EINTR) return errno;
        if (n <= 0) continue;
        int error = 0;
        socklen_t size = sizeof error;
        if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
        return error;
    }
}

// A socket of an address's family that is bound to the device.
Socket bound_socket(const addrinfo& to, const std::string& device, std::string& why) {
    Socket out(::socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!out.valid()) {
        why = text_of(errno);
        return out;
    }
    if (::setsockopt(out.get(), SOL_SOCKET, SO_BINDTODEVICE, device.data(),
                     static_cast<socklen_t>(device.size())) != 0) {
        why = text_of(errno);
        return Socket();
    }
    const int timeout = kUserTimeoutMs;
    const int on = 1;
    ::setsockopt(out.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    ::setsockopt(out.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return out;
}

Socket dial(const std::string& device, const std::string& host, const std::string& port,
            std::string& why) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
        why = host + ": " + ::gai_strerror(error);
        return Socket();
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, &::freeaddrinfo);
    int left = 0;
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) ++left;
    const auto deadline = Clock::now() + LineRelay::kReach;
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next, --left) {
        Socket socket = bound_socket(*one, device, why);
        if (!socket.valid()) continue;
        // Each address has its share of what is left.
        const auto now = Clock::now();
        const int error = connect_until(socket.get(), *one, now + (deadline - now) / left);
        if (error == 0) {
            why.clear();
            return socket;
        }
        why = text_of(error);
    }
    return Socket();
}

std::string peer_of(int socket) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> port{};
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    if (::getpeername(socket, raw, &size) != 0 ||
        ::getnameinfo(raw, size, host.data(), host.size(), port.data(), port.size(),
                      NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return {};
    std::string out(1, '[');
    return out.append(host.data()).append("]:").append(port.data());
}

// "HOST:PORT" or "[IPV6]:PORT".
std::pair<std::string, std::string> parts_of(const std::string& address) {
    const auto colon = address.rfind(':');
    if (colon == std::string::npos) return {address, {}};
    std::string host = address.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    return {host, address.substr(colon + 1)};
}

}  // namespace

struct LineRelay::State {
    std::string device;
    std::string host;
    std::string port;
    std::string name;
    Socket listener;
    Socket gone;  // an eventfd: readable when the relay is gone
    mutable std::mutex mutex;
    std::string fault;    // under the mutex
    std::string reached;  // likewise

    Socket accept_one();
    void run();
};

// The connection of this process; another's is closed. Invalid: the relay is gone.
Socket LineRelay::State::accept_one() {
    for (;;) {
        std::array<pollfd, 2> both{pollfd{listener.get(), POLLIN, 0},
                                   pollfd{gone.get(), POLLIN, 0}};
        if (::poll(both.data(), both.size(), -1) < 0 && errno != EINTR) return Socket();
        if (both[1].revents != 0) return Socket();
        Socket one(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!one.valid() && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
            // The connection goes on waiting; so do we, for a descriptor.
            ::poll(&both[1], 1, 100);
            continue;
        }
        ucred peer{};
        socklen_t size = sizeof peer;
        if (one.valid() && ::getsockopt(one.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
            peer.pid == ::getpid())
            return one;
    }
}

void LineRelay::State::run() {
    const Socket local = accept_one();
    listener = Socket();
    if (!local.valid()) return;
    std::string why;
    const Socket remote = dial(device, host, port, why);
    if (remote.valid()) {
        {
            const std::lock_guard lock(mutex);
            reached = peer_of(remote.get());
        }
        carry(local.get(), remote.get());
    } else {
        const std::lock_guard lock(mutex);
        fault = "over " + device + ": " + why;
    }
}

LineRelay::LineRelay(std::string device, const std::string& address)
    : state_(std::make_shared<State>()) {
    state_->device = std::move(device);
    std::tie(state_->host, state_->port) = parts_of(address);
    std::random_device random;
    state_->name = "urd-line-" + std::to_string(::getpid()) + "-" + std::to_string(random()) +
                   std::to_string(random());
    state_->listener = Socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    state_->gone = Socket(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    socklen_t length = 0;
    const sockaddr_un own = address_of(state_->name, length);
    if (!state_->listener.valid() || !state_->gone.valid() ||
        ::bind(state_->listener.get(), reinterpret_cast<const sockaddr*>(&own), length) != 0 ||
        ::listen(state_->listener.get(), 4) != 0)
        throw std::system_error(errno, std::generic_category(), "a socket for a line's connection");
    // On its own: who waits for the relay's end must not wait for the DNS.
    std::thread([state = state_] { state->run(); }).detach();
}

LineRelay::~LineRelay() {
    const std::uint64_t one = 1;
    // An eventfd takes this at once.
    [[maybe_unused]] const ssize_t written = ::write(state_->gone.get(), &one, sizeof one);
}

std::string LineRelay::target() const {
    return "unix-abstract:" + state_->name;
}

std::string LineRelay::peer() const {
    const std::lock_guard lock(state_->mutex);
    return state_->reached;
}

std::string LineRelay::fault() const {
    const std::lock_guard lock(state_->mutex);
    return state_->fault;
}

}  // namespace dr::ur
