// Reads a file or standard input in pieces.
#include "cli/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/utf8.h"
#include "cli/errors.h"

namespace dr::cli {
namespace {

[[noreturn]] void fail(const std::string& name) {
    throw Failure(kExitUsage, fmt::format("{}: cannot be read: {}", name, std::strerror(errno)));
}

}  // namespace

Input::Input(const std::string& path, int standard_input)
    : name_(path == "-" ? "standard input" : path), owned_(path != "-") {
    fd_ = owned_ ? open(path.c_str(), O_RDONLY | O_CLOEXEC) : standard_input;
    if (fd_ < 0) {
        fail(name_);
    }
    struct stat info {};
    if (fstat(fd_, &info) == 0 && S_ISREG(info.st_mode)) {
        size_ = static_cast<std::uint64_t>(info.st_size);
    }
    // open() accepts a directory; only read() would refuse it, after the work has begun.
    if (owned_ && S_ISDIR(info.st_mode)) {
        close(fd_);
        errno = EISDIR;
        fail(name_);
    }
}

Input::~Input() {
    if (owned_) {
        close(fd_);
    }
}

std::size_t Input::read(std::span<char> buffer) {
    pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
    if (idle_ && poll(&ready, 1, 0) == 0) {
        idle_();
    }
    for (;;) {
        const ssize_t count = ::read(fd_, buffer.data(), buffer.size());
        if (count >= 0) {
            const auto read = buffer.first(static_cast<std::size_t>(count));
            if (first_ && is_utf16({read.data(), read.size()})) {
                throw Failure(kExitUsage, name_ + ": is UTF-16; it must be UTF-8");
            }
            first_ = false;
            return read.size();
        }
        if (errno != EINTR) {
            fail(name_);
        }
        if (ended_ && ended_()) {
            return 0;
        }
    }
}

}  // namespace dr::cli
