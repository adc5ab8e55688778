// Writes a secret into a file that only its owner can read, whole or not at all.
#include "cli/secret_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/context.h"
#include "cli/errors.h"
#include "process/paths.h"

namespace dr::cli {
namespace {

// More than the size of credentials with a long chain of certificates.
constexpr off_t kReserved = 128 << 10;

// An existing file is replaced, so it must not be shared with other users.
void check_target(const std::string& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        return;
    }
    if (S_ISLNK(status.st_mode)) {
        throw Failure(kExitUsage, path + ": is a symbolic link; name the file itself");
    }
    if (!S_ISREG(status.st_mode)) {
        throw Failure(kExitUsage,
                      path + ": is no regular file: a secret is written to a file that stays");
    }
    if (status.st_uid != ::geteuid() || status.st_nlink != 1) {
        throw Failure(kExitUsage, path +
                                      ": belongs to another user, or has another name (a hard "
                                      "link): a secret is written to a file of its own");
    }
}

}  // namespace

SecretFile::SecretFile(std::string path)
    : path_(std::move(path)), temporary_(path_ + ".new-XXXXXX") {
    check_target(path_);
    fd_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
    if (fd_ < 0) {
        unwritable();
    }
    const int error = ::posix_fallocate(fd_, 0, kReserved);
    if (error != 0) {
        ::unlink(temporary_.c_str());
        ::close(fd_);
        errno = error;
        unwritable();
    }
}

SecretFile::~SecretFile() {
    if (fd_ >= 0) {
        ::unlink(temporary_.c_str());
        ::close(fd_);
    }
}

void SecretFile::unwritable() {
    throw Failure(kExitUsage,
                  fmt::format("{}: cannot be written: {}", path_, std::strerror(errno)));
}

void SecretFile::keep(std::string_view content) {
    const auto size = static_cast<off_t>(content.size());
    while (!content.empty()) {
        const ssize_t count = ::write(fd_, content.data(), content.size());
        if (count < 0 && errno != EINTR) {
            unwritable();
        }
        content.remove_prefix(count < 0 ? 0 : static_cast<std::size_t>(count));
    }
    if (::ftruncate(fd_, size) != 0 || ::fsync(fd_) != 0 ||
        ::rename(temporary_.c_str(), path_.c_str()) != 0) {
        unwritable();
    }
    ::close(fd_);
    fd_ = -1;
    const int folder =
        ::open(process::directory_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        (void)::fsync(folder);
        ::close(folder);
    }
}

}  // namespace dr::cli
