// Switches from root to drd's user, and creates files with the right owner.
#include "control/daemon/privileges.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "control/daemon/options.h"
#include "process/paths.h"
#include "process/rights.h"

namespace dr::control {
namespace {

bool is_directory(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Creates a directory with exactly this mode, independent of the umask. 0 or an error.
int make_with_mode(const std::string& path, mode_t mode) {
    const mode_t before = ::umask(0);
    const int error = ::mkdir(path.c_str(), mode) == 0 ? 0 : errno;
    ::umask(before);
    return error;
}

[[noreturn]] void fail(const std::string& directory, const std::string& why) {
    throw StartError(fmt::format("directory {}: {}", directory, why));
}

}  // namespace

Privileges::Privileges(const std::string& user)
    : user_(user), uid_(::geteuid()), gid_(::getegid()) {
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

void Privileges::require_own(const std::string& directory) const {
    if (::geteuid() != 0) return;
    const std::string why = process::who_else_may_change(directory, 0);
    if (why.empty()) return;
    fail(directory, why + (switching_ ? "" : "; or run drd as that user, with --user"));
}

void Privileges::make_secret_directory(const std::string& path) const {
    make_directory(path, 0700, true);
    if (!switching_) require_own(path);
}

void Privileges::make_socket_directory(const std::string& path) const {
    make_directory(path, 0755, false);
}

void Privileges::make_directory(const std::string& path, mode_t mode, bool for_user) const {
    if (is_directory(path)) return;
    const std::string parent = process::directory_of(path);
    make_directory(parent, 0755, false);
    int error = 0;
    {
        const Acting acting(*this);
        error = make_with_mode(path, mode);
    }
    if (error == 0) return;
    if (!switching_ || error != EACCES) fail(path, std::strerror(error));
    require_own(parent);
    if (const int again = make_with_mode(path, mode); again != 0) fail(path, std::strerror(again));
    if (!for_user) return;
    const int fd = ::open(path.c_str(), O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const bool given = fd >= 0 && ::fchown(fd, uid_, gid_) == 0;
    const std::string why = std::strerror(errno);
    if (fd >= 0) ::close(fd);
    if (!given) fail(path, fmt::format("cannot be given to {}: {}", user_, why));
}

bool Privileges::user_may_write(const std::string& directory) const {
    const Acting acting(*this);
    return ::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
}

void Privileges::give_socket(const std::string& path) const {
    if (switching_ && ::lchown(path.c_str(), uid_, gid_) != 0)
        throw StartError(
            fmt::format("{}: cannot give it to {}: {}", path, user_, std::strerror(errno)));
}

Privileges::Acting::Acting(const Privileges& as) : active_(as.switching()) {
    if (!active_) return;
    group_before_ = ::getegid();
    groups_before_.resize(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
    const bool known =
        ::getgroups(static_cast<int>(groups_before_.size()), groups_before_.data()) >= 0;
    if (!known || ::initgroups(as.user_.c_str(), as.gid_) != 0 || ::setegid(as.gid_) != 0 ||
        ::seteuid(as.uid_) != 0)
        throw StartError(fmt::format("cannot act as {}: {}", as.user_, std::strerror(errno)));
}

Privileges::Acting::~Acting() {
    if (active_ && (::seteuid(0) != 0 || ::setegid(group_before_) != 0 ||
                    ::setgroups(groups_before_.size(), groups_before_.data()) != 0))
        ::_exit(1);
}

void Privileges::drop() const {
    if (switching_ && (::initgroups(user_.c_str(), gid_) != 0 ||
                       ::setresgid(gid_, gid_, gid_) != 0 || ::setresuid(uid_, uid_, uid_) != 0))
        throw StartError(fmt::format("cannot become {}: {}", user_, std::strerror(errno)));
    std::string why;
    if (!process::keep_capabilities({}, &why))
        throw StartError("own rights cannot be limited: " + why);
    if (::geteuid() == 0)
        std::fputs(
            "drd: warning: it runs as root, though without a capability; with --user NAME it runs "
            "as a user of its own\n",
            stderr);
}

}  // namespace dr::control
