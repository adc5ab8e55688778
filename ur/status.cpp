// The socket that `urd status` asks.
#include "ur/status.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "process/paths.h"
#include "process/unix_socket.h"

namespace dr::ur {

namespace {

struct Address {
    sockaddr_un socket{};
    socklen_t length{};
};

bool is_abstract(const std::string& path) {
    return path.starts_with('@');
}

Address to_address(const std::string& path) {
    Address out;
    out.socket.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof out.socket.sun_path)
        throw std::system_error(ENAMETOOLONG, std::generic_category(), "socket \"" + path + "\"");
    std::memcpy(out.socket.sun_path, path.data(), path.size());
    if (is_abstract(path)) out.socket.sun_path[0] = '\0';
    out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    return out;
}

// A connected socket, or -1 and errno.
int connect_to(const std::string& path) {
    const Address to = to_address(path);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&to.socket), to.length) != 0) {
        const int error = errno;
        ::close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

bool bind_to(int fd, const std::string& path, std::string& why) {
    if (!is_abstract(path)) {
        std::error_code ignored;
        std::filesystem::create_directories(process::directory_of(path), ignored);
        return process::bind_socket(fd, path, 0600, &why);
    }
    const Address own = to_address(path);
    return ::bind(fd, reinterpret_cast<const sockaddr*>(&own.socket), own.length) == 0;
}

bool may_ask(int client) {
    ucred peer{};
    socklen_t length = sizeof peer;
    return ::getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           (peer.uid == 0 || peer.uid == ::geteuid());
}

}  // namespace

StatusServer::StatusServer(std::string path) : path_(std::move(path)) {
    const int other = connect_to(path_);
    if (other >= 0) {
        ::close(other);
        throw std::system_error(EADDRINUSE, std::generic_category(),
                                path_ + ": another urd answers here");
    }
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    std::string why;
    if (fd_ >= 0 && bind_to(fd_, path_, why) && ::listen(fd_, 8) == 0) return;
    if (why.empty()) why = std::strerror(errno);
    if (fd_ >= 0) ::close(fd_);
    throw std::runtime_error("--socket " + path_ + ": " + why);
}

StatusServer::~StatusServer() {
    if (!is_abstract(path_)) ::unlink(path_.c_str());
    ::close(fd_);
}

void StatusServer::answer(const std::string& text) const {
    const int client = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) return;
    const int room = static_cast<int>(text.size()) * 2;
    ::setsockopt(client, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    // A client that went away in the meantime gets nothing.
    if (may_ask(client) && ::send(client, text.data(), text.size(), MSG_NOSIGNAL) < 0) errno = 0;
    ::close(client);
}

std::string ask_status(const std::string& path) {
    const int fd = connect_to(path);
    if (fd < 0)
        throw std::system_error(errno, std::generic_category(), path + " (is urd running?)");
    std::string text;
    std::array<char, 4096> buffer;
    ssize_t got = 0;
    while ((got = ::read(fd, buffer.data(), buffer.size())) > 0)
        text.append(buffer.data(), static_cast<std::size_t>(got));
    ::close(fd);
    if (text.empty())
        throw std::system_error(EACCES, std::generic_category(), path + " (root only)");
    return text;
}

}  // namespace dr::ur
