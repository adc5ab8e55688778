// AF_UNIX sockets as files: created with their final mode, and without following links.
#pragma once

#include <sys/types.h>

#include <string>

namespace dr::process {

// Removes the file of a socket on which no process listens; a missing file is accepted. false and a
// reason: a process listens, or the file is not a socket; then it stays. `type`: the listener's,
// SOCK_STREAM for instance.
[[nodiscard]] bool remove_dead_socket(const std::string& path, int type, std::string* why);

// Binds an AF_UNIX socket to `path` with exactly this mode from the first moment. A dead socket
// there is replaced. false and a reason, also when somebody other than root and this process's user
// could change what is in that directory. Sets the process's umask for a moment: no other thread
// makes files meanwhile.
[[nodiscard]] bool bind_socket(int fd, const std::string& path, mode_t mode, std::string* why);

}  // namespace dr::process
