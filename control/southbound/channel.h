// One connection to the data plane: frames of protocol.h over a Unix stream socket.
//
// Blocking with a deadline; every wait also ends when the `wake` descriptor says to stop. One
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "dataplane/southbound/protocol.h"

namespace dr::control {

// The connection cannot be used: refused, closed, silent, or not understood.
class ChannelError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

struct Message {
    southbound::Type type{};
    std::vector<std::uint8_t> body;
    FileDescriptor fd;

    // The body as T; ChannelError when it has another size.
    template <typename T>
    [[nodiscard]] T as() const {
        if (body.size() != sizeof(T))
            throw ChannelError(
                "data plane: a message of unexpected size; do both programs come "
                "from one build?");
        T value;
        std::memcpy(&value, body.data(), sizeof(T));
        return value;
    }
};

class Channel {
  public:
    static constexpr std::chrono::seconds kPatience{10};

    // Connects. `stopping` is asked whenever `wake_fd` (an eventfd, left as it is) is readable.
    Channel(const std::string& path, int wake_fd, std::function<bool()> stopping);

    void send(std::span<const std::uint8_t> bytes);
    template <typename T>
    void send(southbound::Type type, const T& body) {
        std::vector<std::uint8_t> frame(sizeof(southbound::Header) + sizeof(T));
        const southbound::Header header{sizeof(T), static_cast<std::uint16_t>(type), 0};
        std::memcpy(frame.data(), &header, sizeof header);
        std::memcpy(frame.data() + sizeof header, &body, sizeof(T));
        send(frame);
    }
    void send(southbound::Type type);
    // The next message; ChannelError after kPatience.
    Message receive();
    // Waits for the socket or `wake_fd`. True: a message is coming (or the end of the connection).
    bool wait(std::chrono::milliseconds timeout);

  private:
    void wait_for(short events);
    void read_exactly(std::uint8_t* to, std::size_t size, FileDescriptor& fd);

    FileDescriptor socket_;
    int wake_fd_;
    std::function<bool()> stopping_;
};

}  // namespace dr::control
