// The listening AF_UNIX socket as a file: made, protected, taken over from a dead process, removed.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

namespace dr::southbound {

class Listener final {
  public:
    // Mode 0660. The last directory of the path is made (0755) when it is missing. group: name of
    // the owning group; empty: the process's own. A file that no process listens on is replaced.
    // The directory must be root's or the process's user's, and nobody else may write to it or to
    // those above: a user who could would decide where the socket's rights go. Null and a reason on
    // failure.
    static std::unique_ptr<Listener> create(const std::string& path, const std::string& group,
                                            std::string* error);
    // Removes the file, unless somebody put another in its place.
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    [[nodiscard]] int fd() const { return fd_; }
    // The peer of a connected socket is root, this process's user, or a member of the socket's
    // group. false: it is none of these, or its credentials cannot be had.
    [[nodiscard]] bool admits(int connection) const;

  private:
    Listener() = default;
    int fd_ = -1;
    gid_t group_{};
    std::string path_;
    dev_t device_{};
    ino_t inode_{};
};

}  // namespace dr::southbound
