// Writes files with secrets: no links, narrow modes, whole or not at all.
#include "process/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace dr::process {
namespace {

std::string failure(const std::string& path, const char* what) {
    return path + ": " + what + ": " + std::strerror(errno);
}

bool write_all(int fd, std::string_view content) {
    while (!content.empty()) {
        const ssize_t n = ::write(fd, content.data(), content.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        content.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

}  // namespace

bool replace_file(const std::string& path, std::string_view content, mode_t mode,
                  std::string* why) {
    const std::string fresh = path + ".new";
    if (::unlink(fresh.c_str()) != 0 && errno != ENOENT) {
        *why = failure(fresh, "cannot be removed");
        return false;
    }
    const int fd =
        ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0) {
        *why = failure(fresh, "cannot be written");
        return false;
    }
    // Exactly `mode`, independent of the umask.
    const bool good = ::fchmod(fd, mode) == 0 && write_all(fd, content) && ::fsync(fd) == 0;
    if (!good) *why = failure(fresh, "cannot be written");
    ::close(fd);
    if (good && ::rename(fresh.c_str(), path.c_str()) == 0) return true;
    if (good) *why = failure(path, "cannot be written");
    return false;
}

bool narrow_file(const std::string& path, mode_t mode, std::string* why) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0 && errno == ENOENT) return true;
    const int fd = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ::fstat(fd, &status) != 0) {
        *why = errno == ELOOP ? path + ": is a symbolic link; name the file itself"
                              : failure(path, "cannot be opened");
        if (fd >= 0) ::close(fd);
        return false;
    }
    bool good = S_ISREG(status.st_mode);
    if (!good) *why = path + ": is no regular file";
    if (good && (status.st_mode & 07777 & ~mode) != 0 && ::fchmod(fd, status.st_mode & mode) != 0) {
        *why = failure(path, "others may read or write it, and its mode cannot be changed");
        good = false;
    }
    ::close(fd);
    return good;
}

int open_regular(const std::string& path, mode_t mode, std::string* why) {
    // O_NONBLOCK: a pipe without a reader is refused and not waited for.
    const int fd =
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode);
    struct stat status {};
    if (fd >= 0 && ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) return fd;
    if (fd >= 0)
        *why = path + ": is no regular file";
    else if (errno == ELOOP)
        *why = path + ": is a symbolic link; name the file itself";
    else
        *why = failure(path, "cannot be written");
    if (fd >= 0) ::close(fd);
    return -1;
}

}  // namespace dr::process
