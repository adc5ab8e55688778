#include "control/privileges.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "control/options.h"

namespace dr::control {

Privileges::Privileges(const std::string& user) : user_(user) {
    if (user.empty()) return;
    const passwd* entry = ::getpwnam(user.c_str());
    if (entry == nullptr) throw StartError(fmt::format("--user {}: no such user", user));
    uid_ = entry->pw_uid;
    gid_ = entry->pw_gid;
    if (::geteuid() == uid_) return;
    if (::geteuid() != 0)
        throw StartError(fmt::format("--user {}: only root can change to another user", user));
    switching_ = true;
}

void Privileges::make_directory(const std::string& path) const {
    if (path.empty() || std::filesystem::is_directory(path)) return;
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) throw StartError(fmt::format("directory {}: {}", path, error.message()));
    give(path);
}

void Privileges::give(const std::string& path) const {
    if (switching_ && ::chown(path.c_str(), uid_, gid_) != 0)
        throw StartError(
            fmt::format("{}: cannot give it to {}: {}", path, user_, std::strerror(errno)));
}

Privileges::Acting::Acting(const Privileges& as) : active_(as.switching()) {
    if (active_ && (::setegid(as.gid_) != 0 || ::seteuid(as.uid_) != 0))
        throw StartError(fmt::format("cannot act as {}: {}", as.user_, std::strerror(errno)));
}

Privileges::Acting::~Acting() {
    if (active_ && (::seteuid(0) != 0 || ::setegid(0) != 0)) ::_exit(1);
}

void Privileges::drop() const {
    if (!switching_) return;
    if (::initgroups(user_.c_str(), gid_) != 0 || ::setgid(gid_) != 0 || ::setuid(uid_) != 0)
        throw StartError(fmt::format("cannot become {}: {}", user_, std::strerror(errno)));
}

}  // namespace dr::control
