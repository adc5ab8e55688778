#include "dataplane/southbound/listener.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace dr::southbound {
namespace {

constexpr mode_t kMode = 0660;
constexpr int kBacklog = 16;
constexpr std::size_t kMaxGroups = 65536;  // the kernel's own limit

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

int bind_to(int fd, const sockaddr_un& address) {
    return bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

// Makes room for a new socket file. false: what is there must stay.
bool remove_stale(const std::string& path, std::string* why) {
    struct stat info {};
    if (lstat(path.c_str(), &info) != 0) return errno == ENOENT;
    if (!S_ISSOCK(info.st_mode)) {
        *why = "exists and is no socket";
        return false;
    }
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const sockaddr_un address = address_of(path);
    const bool refused =
        probe >= 0 &&
        connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
        errno == ECONNREFUSED;
    if (probe >= 0) close(probe);
    if (!refused) {
        *why = "another process listens on it";
        return false;
    }
    return unlink(path.c_str()) == 0 || errno == ENOENT;
}

bool find_group(const std::string& name, gid_t* gid) {
    std::vector<char> buffer(16 * 1024);
    group entry{};
    group* found = nullptr;
    getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (found == nullptr) return false;
    *gid = found->gr_gid;
    return true;
}

}  // namespace

std::unique_ptr<Listener> Listener::create(const std::string& path, const std::string& group,
                                           std::string* error) {
    const auto fail = [&](const std::string& what) {
        *error = "socket " + path + ": " + what;
        return nullptr;
    };
    if (path.empty() || path.size() >= sizeof sockaddr_un{}.sun_path)
        return fail("the path must have 1 to " + std::to_string(sizeof sockaddr_un{}.sun_path - 1) +
                    " bytes");
    gid_t gid = getegid();
    if (!group.empty() && !find_group(group, &gid)) return fail("no group \"" + group + "\"");

    std::unique_ptr<Listener> self(new Listener);
    self->group_ = gid;
    self->fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->fd_ < 0) return fail(std::strerror(errno));
    const sockaddr_un address = address_of(path);
    if (bind_to(self->fd_, address) != 0) {
        if (errno != EADDRINUSE) return fail(std::strerror(errno));
        std::string why = "cannot be replaced";
        if (!remove_stale(path, &why)) return fail(why);
        if (bind_to(self->fd_, address) != 0) return fail(std::strerror(errno));
    }
    struct stat info {};
    if (lstat(path.c_str(), &info) != 0) return fail(std::strerror(errno));
    self->path_ = path;
    self->device_ = info.st_dev;
    self->inode_ = info.st_ino;
    // Nobody can connect before listen(), so there is no moment with a wider mode.
    if (!group.empty() && chown(path.c_str(), static_cast<uid_t>(-1), gid) != 0)
        return fail("giving it to group \"" + group + "\": " + std::strerror(errno));
    if (chmod(path.c_str(), kMode) != 0) return fail(std::strerror(errno));
    if (listen(self->fd_, kBacklog) != 0) return fail(std::strerror(errno));
    return self;
}

Listener::~Listener() {
    if (fd_ >= 0) close(fd_);
    struct stat info {};
    if (!path_.empty() && lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ &&
        info.st_ino == inode_)
        unlink(path_.c_str());
}

bool Listener::admits(int connection) const {
    ucred peer{};
    socklen_t length = sizeof peer;
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
    if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == group_) return true;
    std::vector<gid_t> groups(kMaxGroups);
    length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (getsockopt(connection, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) != 0)
        return false;
    groups.resize(length / sizeof(gid_t));
    return std::find(groups.begin(), groups.end(), group_) != groups.end();
}

}  // namespace dr::southbound
