// AF_UNIX sockets as files: made with their final mode, and without following what others put
// there.
#pragma once

#include <sys/types.h>

#include <string>

namespace dr::process {

// Removes the file of a socket on which nobody listens; nothing there is good too. false and a
// reason: a process listens, or it is something else, which stays. `type`: SOCK_STREAM or another,
// as the listener has it.
[[nodiscard]] bool remove_dead_socket(const std::string& path, int type, std::string* why);

// Binds an AF_UNIX socket to `path` with exactly this mode from the first moment. A dead socket
// there is replaced. false and a reason, also when somebody other than root and this process's user
// could change what is in that directory. Sets the process's umask for a moment: no other thread
// makes files meanwhile.
[[nodiscard]] bool bind_socket(int fd, const std::string& path, mode_t mode, std::string* why);

}  // namespace dr::process
