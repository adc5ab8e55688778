#include "tests/linkem/packet_port.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "dataplane/wire/checksum.h"

namespace dr::linkem {
namespace {

constexpr int kBufferBytes = 64 << 20;

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void set(int fd, int level, int option, int value, const std::string& what) {
    if (setsockopt(fd, level, option, &value, sizeof value) != 0) fail(what);
}

FileDescriptor open_socket(const std::string& interface) {
    const auto number = if_nametoindex(interface.c_str());
    if (number == 0) fail("interface " + interface);
    // Protocol 0 receives nothing until bind() names one: no frame of another interface gets in.
    FileDescriptor socket{::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (socket.get() < 0) fail("packet socket (needs CAP_NET_RAW)");
    const int fd = socket.get();
    set(fd, SOL_PACKET, PACKET_VNET_HDR, 1, "PACKET_VNET_HDR");
    set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING");
    set(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS");
    set(fd, SOL_SOCKET, SO_RCVBUFFORCE, kBufferBytes, "SO_RCVBUFFORCE");
    set(fd, SOL_SOCKET, SO_SNDBUFFORCE, kBufferBytes, "SO_SNDBUFFORCE");
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(number);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        fail("bind to interface " + interface);
    return socket;
}

// What a sender with checksum offload left to its interface; RFC 768's zero included.
bool complete_checksum(Frame& frame) {
    if ((frame.offload.flags & OffloadHeader::kNeedsChecksum) == 0) return true;
    const std::size_t start = frame.offload.checksum_start;
    const std::size_t field = start + frame.offload.checksum_offset;
    if (field + 2 > frame.size) return false;
    auto sum = wire::checksum(&frame.data[start], frame.size - start);
    if (sum.raw == 0 && frame.offload.checksum_offset == 6) sum.raw = 0xffff;
    std::memcpy(&frame.data[field], &sum, 2);
    return true;
}

bool take(Frame& frame, std::size_t bytes) {
    if (bytes < sizeof(OffloadHeader) || bytes > sizeof(OffloadHeader) + Frame::kRoom) return false;
    frame.size = static_cast<std::uint16_t>(bytes - sizeof(OffloadHeader));
    if (frame.offload.segmentation != 0 || !complete_checksum(frame)) return false;
    frame.offload = {};
    return true;
}

void describe(mmsghdr& message, iovec& part, Frame& frame, std::size_t bytes) {
    part = {.iov_base = &frame, .iov_len = bytes};
    message = {};
    message.msg_hdr.msg_iov = &part;
    message.msg_hdr.msg_iovlen = 1;
}

}  // namespace

PacketPort::PacketPort(const std::string& interface, FramePool& pool)
    : pool_(pool), socket_(open_socket(interface)) {
    empty_.reserve(kBurst);
    out_.reserve(kBurst);
}

bool PacketPort::receive(std::vector<FrameHandle>& frames, Counters& counters) {
    while (empty_.size() < kBurst) {
        auto frame = pool_.take();
        if (!frame) break;
        empty_.push_back(std::move(frame));
    }
    if (empty_.empty()) {
        // Reads one frame away, so that what waits in the kernel is not older than it should be.
        std::array<char, 1> nothing{};
        if (recv(fd(), nothing.data(), nothing.size(), MSG_TRUNC) < 0) return false;
        counters.add(Counter::drop_buffers);
        return true;
    }
    std::array<mmsghdr, kBurst> messages;
    std::array<iovec, kBurst> parts;
    const auto room = static_cast<unsigned>(empty_.size());
    for (std::size_t i = 0; i < room; ++i)
        describe(messages[i], parts[i], *empty_[room - 1 - i],
                 sizeof(OffloadHeader) + Frame::kRoom);
    const int got = recvmmsg(fd(), messages.data(), room, MSG_TRUNC, nullptr);
    if (got < 0) {
        // The interface is down: it comes up again or the lab is being taken down.
        if (errno == EAGAIN || errno == EINTR || errno == ENETDOWN) return false;
        fail("receive");
    }
    for (int i = 0; i < got; ++i) {
        auto frame = std::move(empty_.back());
        empty_.pop_back();
        if (take(*frame, messages[static_cast<std::size_t>(i)].msg_len))
            frames.push_back(std::move(frame));
        else
            counters.add(Counter::drop_offload);
    }
    return static_cast<unsigned>(got) == room;
}

void PacketPort::transmit(FrameHandle frame, Counters& counters) {
    out_.push_back(std::move(frame));
    if (out_.size() == kBurst) flush(counters);
}

void PacketPort::flush(Counters& counters) {
    std::array<mmsghdr, kBurst> messages;
    std::array<iovec, kBurst> parts;
    const auto n = out_.size();
    for (std::size_t i = 0; i < n; ++i)
        describe(messages[i], parts[i], *out_[i], sizeof(OffloadHeader) + out_[i]->size);
    for (std::size_t sent = 0; sent < n;) {
        const int done =
            sendmmsg(fd(), &messages[sent], static_cast<unsigned>(n - sent), MSG_DONTWAIT);
        if (done > 0) {
            sent += static_cast<std::size_t>(done);
        } else if (errno != EINTR) {
            counters.add(Counter::drop_send);
            ++sent;
        }
    }
    out_.clear();
}

std::uint64_t PacketPort::overruns() {
    tpacket_stats statistics{};
    socklen_t bytes = sizeof statistics;
    if (getsockopt(fd(), SOL_PACKET, PACKET_STATISTICS, &statistics, &bytes) != 0) return 0;
    return statistics.tp_drops;
}

}  // namespace dr::linkem
