// Packet sockets on the tunnel device.
#include "ur/message_socket.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "ur/bpf/shared.h"

namespace dr::ur {

namespace {

// Some 5,000 messages: what somebody sends in the DR's name, 20,000 a second, has room for the time
// that a busy machine may not run urd, and the DR's own messages among it are not lost.
constexpr int kReceiveBuffer = 4 << 20;

constexpr std::array<std::uint8_t, 5> kMark{UR_KEEPALIVE_MAC};

sockaddr_ll address_of(int device, std::uint16_t type) {
    sockaddr_ll out{};
    out.sll_family = AF_PACKET;
    out.sll_protocol = htons(type);
    out.sll_ifindex = device;
    return out;
}

}  // namespace

MessageSocket::MessageSocket(int device)
    : device_(device), fd_(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    // Above the system's limit, where it may be: else the limit.
    if (fd_ >= 0 &&
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) != 0)
        (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
    const sockaddr_ll own = address_of(device, UR_KEEPALIVE);
    if (fd_ >= 0 && ::bind(fd_, reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0) return;
    const int error = errno;
    if (fd_ >= 0) ::close(fd_);
    throw std::system_error(error, std::generic_category(), "packet socket on the tunnel device");
}

void MessageSocket::move(int device) {
    const sockaddr_ll own = address_of(device, UR_KEEPALIVE);
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0)
        throw std::system_error(errno, std::generic_category(),
                                "packet socket on the tunnel device");
    device_ = device;
}

MessageSocket::~MessageSocket() {
    ::close(fd_);
}

void MessageSocket::send(unsigned slot, std::span<const std::uint8_t> packet) const {
    sockaddr_ll to = address_of(device_, packet[0] >> 4 == 6 ? ETH_P_IPV6 : ETH_P_IP);
    to.sll_halen = ETH_ALEN;
    std::copy(kMark.begin(), kMark.end(), to.sll_addr);
    to.sll_addr[kMark.size()] = static_cast<unsigned char>(slot);
    // A full queue (ENOBUFS) and a drop by the program look alike; keepalives are made for loss.
    if (::sendto(fd_, packet.data(), packet.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                 sizeof to) < 0)
        errno = 0;
}

std::optional<MessageSocket::Arrival> MessageSocket::receive() {
    for (;;) {
        sockaddr_ll from{};
        socklen_t length = sizeof from;
        const ssize_t size = ::recvfrom(fd_, buffer_.data(), buffer_.size(), 0,
                                        reinterpret_cast<sockaddr*>(&from), &length);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return std::nullopt;
        // Somebody else may write such frames into the device, as root; they are not ours.
        if (from.sll_halen != ETH_ALEN || !std::equal(kMark.begin(), kMark.end(), from.sll_addr) ||
            from.sll_addr[kMark.size()] >= UR_SLOTS)
            continue;
        return Arrival{from.sll_addr[kMark.size()],
                       std::span(buffer_).first(static_cast<std::size_t>(size))};
    }
}

}  // namespace dr::ur
