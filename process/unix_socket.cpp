// Creates Unix sockets as files with their final mode.
#include "process/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "process/paths.h"

namespace dr::process {
namespace {

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

bool has_listener(const std::string& path, int type) {
    const int probe = ::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const sockaddr_un address = address_of(path);
    const bool refused =
        probe >= 0 &&
        ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
        errno == ECONNREFUSED;
    if (probe >= 0) ::close(probe);
    return !refused;
}

int bind_with_mode(int fd, const sockaddr_un& address, mode_t mode) {
    const mode_t before = ::umask(0777 & ~mode);
    const int result = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const int error = errno;
    ::umask(before);
    errno = error;
    return result;
}

}  // namespace

bool remove_dead_socket(const std::string& path, int type, std::string* why) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return true;
        *why = std::strerror(errno);
        return false;
    }
    // connect() to a regular file is refused too.
    if (!S_ISSOCK(status.st_mode)) {
        *why = "exists and is no socket";
        return false;
    }
    if (has_listener(path, type)) {
        *why = "another process listens on it";
        return false;
    }
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return true;
    *why = std::string("a dead process's socket cannot be removed: ") + std::strerror(errno);
    return false;
}

bool bind_socket(int fd, const std::string& path, mode_t mode, std::string* why) {
    if (path.empty() || path.size() >= sizeof sockaddr_un{}.sun_path) {
        *why = "the path must have 1 to " + std::to_string(sizeof sockaddr_un{}.sun_path - 1) +
               " bytes";
        return false;
    }
    *why = who_else_may_change(directory_of(path), ::geteuid());
    if (!why->empty()) return false;
    const sockaddr_un address = address_of(path);
    if (bind_with_mode(fd, address, mode) == 0) return true;
    if (errno == EADDRINUSE) {
        if (!remove_dead_socket(path, SOCK_STREAM, why)) return false;
        if (bind_with_mode(fd, address, mode) == 0) return true;
    }
    *why = std::strerror(errno);
    return false;
}

}  // namespace dr::process
