#include "tests/linkem/control_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace dr::linkem {
namespace {

constexpr std::size_t kLongestLine = 1 << 20;

[[noreturn]] void fail(int number, const std::string& what) {
    throw std::system_error(number, std::generic_category(), what);
}

void watch(int epoll, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) fail(errno, "epoll_ctl");
}

FileDescriptor listen_at(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        fail(ENAMETOOLONG, "control socket " + path);
    std::memcpy(address.sun_path, path.data(), path.size());
    FileDescriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (socket.get() < 0) fail(errno, "control socket");
    if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(socket.get(), 8) != 0)
        fail(errno, "control socket " + path);
    return socket;
}

}  // namespace

ControlSocket::ControlSocket(std::string path, int epoll, Execute execute)
    : path_(std::move(path)),
      epoll_(epoll),
      execute_(std::move(execute)),
      listener_(listen_at(path_)) {
    watch(epoll_, listener_.get());
}

ControlSocket::~ControlSocket() {
    unlink(path_.c_str());
}

bool ControlSocket::ready(int fd) {
    if (fd == listener_.get()) {
        accept_client();
        return true;
    }
    const auto found = clients_.find(fd);
    if (found == clients_.end()) return false;
    if (!serve(found->second)) clients_.erase(found);
    return true;
}

void ControlSocket::accept_client() {
    FileDescriptor socket{accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    const int fd = socket.get();
    if (fd < 0) return;
    watch(epoll_, fd);
    clients_.emplace(fd, Client{.socket = std::move(socket), .input = {}});
}

// False when the client is done with, or does not read its answers.
bool ControlSocket::serve(Client& client) {
    std::array<char, 4096> buffer;
    const auto got = read(client.socket.get(), buffer.data(), buffer.size());
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
    client.input.append(buffer.data(), static_cast<std::size_t>(got));
    for (std::size_t end; (end = client.input.find('\n')) != std::string::npos;) {
        const auto answer = execute_(client.input.substr(0, end)) + "\n";
        client.input.erase(0, end + 1);
        const auto sent = send(client.socket.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
        if (sent != static_cast<ssize_t>(answer.size())) return false;
    }
    return client.input.size() < kLongestLine;
}

}  // namespace dr::linkem
