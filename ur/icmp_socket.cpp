// Raw sockets that send ICMP errors.
#include "ur/icmp_socket.h"

#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <system_error>

namespace dr::ur {

namespace {

// No other message wakes urd.
bool filter(int fd, std::uint8_t family) {
    if (family == 4) {
        const icmp_filter only{~(1U << ICMP_DEST_UNREACH)};
        return ::setsockopt(fd, SOL_RAW, ICMP_FILTER, &only, sizeof only) == 0;
    }
    icmp6_filter only{};
    ICMP6_FILTER_SETBLOCKALL(&only);
    ICMP6_FILTER_SETPASS(ICMP6_PACKET_TOO_BIG, &only);
    return ::setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &only, sizeof only) == 0;
}

}  // namespace

IcmpSocket::IcmpSocket(std::uint8_t family)
    : family_(family),
      fd_(::socket(
          family == 4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
          family == 4 ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6))) {
    if (fd_ >= 0 && filter(fd_, family)) return;
    const int error = errno;
    // A machine without IPv6 has no errors of it.
    if (fd_ < 0 && error == EAFNOSUPPORT) return;
    if (fd_ >= 0) ::close(fd_);
    throw std::system_error(error, std::generic_category(), "socket for ICMP errors");
}

IcmpSocket::~IcmpSocket() {
    if (fd_ >= 0) ::close(fd_);
}

std::optional<PathHint> IcmpSocket::receive(unsigned most) {
    while (fd_ >= 0 && most-- != 0) {
        const ssize_t size = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) break;
        auto message = std::span<const std::uint8_t>(buffer_).first(static_cast<std::size_t>(size));
        if (family_ == 4) {
            const std::size_t header = message.empty() ? 0 : (message[0] & 15U) * 4U;
            if (header < 20 || header > message.size()) continue;
            message = message.subspan(header);
        }
        if (auto hint = read_path_hint(family_, message)) return hint;
    }
    return std::nullopt;
}

}  // namespace dr::ur
