#include "ur/signalling/cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace dr::ur {

std::optional<v1::Attachment> AttachmentCache::load(const std::string& subscriber) {
    if (path_.empty()) return std::nullopt;
    std::ifstream in(path_, std::ios::binary);
    std::ostringstream bytes;
    bytes << in.rdbuf();
    v1::Attachment attachment;
    if (!in || !attachment.ParseFromString(bytes.str())) return std::nullopt;
    if (attachment.subscriber() != subscriber) return std::nullopt;
    written_ = bytes.str();
    return attachment;
}

std::string AttachmentCache::save(const v1::Attachment& attachment) {
    std::string bytes = attachment.SerializeAsString();
    if (path_.empty() || bytes == written_) return {};
    const std::string fresh = path_ + ".new";
    const auto why = [&](const std::string& name) {
        return name + ": cannot be written: " + std::strerror(errno);
    };
    const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return why(fresh);
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    const bool good = n == static_cast<ssize_t>(bytes.size()) && ::fsync(fd) == 0;
    ::close(fd);
    if (!good || ::rename(fresh.c_str(), path_.c_str()) != 0) return why(path_);
    written_ = std::move(bytes);
    return {};
}

}  // namespace dr::ur
