// The socket on which clients arrive.
#include "dataplane/server/listener.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "process/paths.h"
#include "process/unix_socket.h"

namespace dr::southbound {
namespace {

constexpr mode_t kMode = 0660;
constexpr mode_t kDirectoryMode = 0755;
constexpr int kBacklog = 16;
constexpr std::size_t kMaxGroups = 65536;  // the kernel's own limit

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
    gid_t gid = getegid();
    if (!group.empty() && !find_group(group, &gid)) return fail("no group \"" + group + "\"");

    std::unique_ptr<Listener> self(new Listener);
    self->group_ = gid;
    self->fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->fd_ < 0) return fail(std::strerror(errno));
    // /run is empty after a boot; what is still wrong after this, bind says.
    mkdir(process::directory_of(path).c_str(), kDirectoryMode);
    // With its mode from the beginning, in a directory where nobody else can put a link in its
    // place.
    std::string why;
    if (!process::bind_socket(self->fd_, path, kMode, &why)) return fail(why);
    struct stat info {};
    if (lstat(path.c_str(), &info) != 0) return fail(std::strerror(errno));
    self->path_ = path;
    self->device_ = info.st_dev;
    self->inode_ = info.st_ino;
    // Nobody can connect before listen(): there is no moment in which another group might.
    if (!group.empty() && lchown(path.c_str(), static_cast<uid_t>(-1), gid) != 0)
        return fail("giving it to group \"" + group + "\": " + std::strerror(errno));
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
