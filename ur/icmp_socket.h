// Hears the ICMP errors about this machine's packets that were too large for their path. They pass
// netfilter on their way here: where a firewall drops them, path MTU discovery goes without. One
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "ur/path_hint.h"

namespace dr::ur {

class IcmpSocket final {
  public:
    // `family` 4 or 6. Throws std::system_error (needs CAP_NET_RAW).
    explicit IcmpSocket(std::uint8_t family);
    ~IcmpSocket();
    IcmpSocket(const IcmpSocket&) = delete;
    IcmpSocket& operator=(const IcmpSocket&) = delete;

    [[nodiscard]] int fd() const { return fd_; }

    // The next one about a packet of a tunnel's format, of `most` messages; nullopt: none.
    std::optional<PathHint> receive(unsigned most);

  private:
    std::uint8_t family_;
    int fd_;
    std::array<std::uint8_t, 2048> buffer_;
};

}  // namespace dr::ur
