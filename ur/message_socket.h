// How keepalives leave and arrive: a packet socket on the tunnel device. A message passes through
// the programs that also move the data, out of the same device with the same addresses and ports,
// past netfilter of this machine in both directions: so a NAT or a firewall here cannot treat one
// otherwise than the other, and the programs need no second way to find a next hop. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace dr::ur {

class MessageSocket final {
  public:
    // `device`: the index of the tunnel device. Throws std::system_error (needs CAP_NET_RAW).
    explicit MessageSocket(int device);
    ~MessageSocket();
    MessageSocket(const MessageSocket&) = delete;
    MessageSocket& operator=(const MessageSocket&) = delete;

    // To a tunnel device that was made again. Throws std::system_error.
    void move(int device);

    [[nodiscard]] int fd() const { return fd_; }

    // Sends a whole outer IP packet over the line of this slot. What the kernel has no room for is
    // lost, like any packet.
    void send(unsigned slot, std::span<const std::uint8_t> packet) const;

    struct Arrival {
        unsigned slot;
        std::span<const std::uint8_t> packet;  // valid until the next call
    };
    // nullopt: nothing is waiting.
    std::optional<Arrival> receive();

  private:
    int device_;
    int fd_;
    std::array<std::uint8_t, 9300> buffer_;
};

}  // namespace dr::ur
