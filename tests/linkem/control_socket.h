// Clients on a Unix socket that send lines and get one line back for each.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/file_descriptor.h"

namespace dr::linkem {

class ControlSocket {
  public:
    using Execute = std::function<std::string(const std::string& line)>;

    // Listens at `path`, which must not exist; removed by the destructor. `epoll` hears of every
    // descriptor, with itself as the event's data. Throws std::system_error.
    ControlSocket(std::string path, int epoll, Execute execute);
    ~ControlSocket();
    ControlSocket(const ControlSocket&) = delete;
    ControlSocket& operator=(const ControlSocket&) = delete;

    // Serves a descriptor that epoll reported; false when it is none of this socket's.
    bool ready(int fd);

  private:
    struct Client {
        FileDescriptor socket;
        std::string input;
    };

    void accept_client();
    bool serve(Client& client);

    std::string path_;
    int epoll_;
    Execute execute_;
    FileDescriptor listener_;
    std::map<int, Client> clients_;
};

}  // namespace dr::linkem
