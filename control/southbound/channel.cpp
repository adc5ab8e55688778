// Sends and receives frames on the data plane's socket.
#include "control/southbound/channel.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace dr::control {

Channel::Channel(const std::string& path, int wake_fd, std::function<bool()> stopping)
    : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      wake_fd_(wake_fd),
      stopping_(std::move(stopping)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        throw ChannelError(fmt::format("data plane {}: the path is too long for a socket", path));
    std::memcpy(address.sun_path, path.data(), path.size());
    if (!socket_.valid() ||
        ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        throw ChannelError(fmt::format("data plane {}: {}", path, std::strerror(errno)));
}

bool Channel::wait(std::chrono::milliseconds timeout) {
    std::array<pollfd, 2> fds{pollfd{socket_.get(), POLLIN, 0}, pollfd{wake_fd_, POLLIN, 0}};
    const int ready = ::poll(fds.data(), fds.size(), static_cast<int>(timeout.count()));
    if (ready < 0 && errno != EINTR)
        throw ChannelError(fmt::format("data plane: poll: {}", std::strerror(errno)));
    return ready > 0 && fds[0].revents != 0;
}

void Channel::wait_for(short events) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
        if (stopping_()) throw ChannelError("drd is ending");
        if (std::chrono::steady_clock::now() >= deadline)
            throw ChannelError(fmt::format("data plane: no answer in {} s", kPatience.count()));
        // Short slices rather than wake_fd_: that one stays readable while work is waiting.
        pollfd fd{socket_.get(), events, 0};
        const int ready = ::poll(&fd, 1, 100);
        if (ready > 0) return;
        if (ready < 0 && errno != EINTR)
            throw ChannelError(fmt::format("data plane: poll: {}", std::strerror(errno)));
    }
}

void Channel::send(std::span<const std::uint8_t> bytes) {
    while (!bytes.empty()) {
        const ssize_t n =
            ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(n));
        } else if (errno == EAGAIN) {
            wait_for(POLLOUT);
        } else if (errno != EINTR) {
            // The data plane's last message says more than "broken pipe".
            if (errno == EPIPE || errno == ECONNRESET) return;
            throw ChannelError(fmt::format("data plane: send: {}", std::strerror(errno)));
        }
    }
}

void Channel::send(southbound::Type type) {
    const southbound::Header header{0, static_cast<std::uint16_t>(type), 0};
    std::array<std::uint8_t, sizeof header> frame{};
    std::memcpy(frame.data(), &header, sizeof header);
    send(frame);
}

void Channel::read_exactly(std::uint8_t* to, std::size_t size, FileDescriptor& fd) {
    while (size > 0) {
        iovec part{to, size};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        // CMSG_SPACE has room for a second descriptor, which nobody would close.
        message.msg_controllen = CMSG_LEN(sizeof(int));
        const ssize_t n = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n == 0) throw ChannelError("data plane: it closed the connection");
        if (n < 0) {
            if (errno == EAGAIN)
                wait_for(POLLIN);
            else if (errno != EINTR)
                throw ChannelError(fmt::format("data plane: receive: {}", std::strerror(errno)));
            continue;
        }
        if (const cmsghdr* c = CMSG_FIRSTHDR(&message);
            c != nullptr && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            int received = -1;
            std::memcpy(&received, CMSG_DATA(c), sizeof received);
            fd = FileDescriptor(received);
        }
        to += n;
        size -= static_cast<std::size_t>(n);
    }
}

Message Channel::receive() {
    Message message;
    std::array<std::uint8_t, sizeof(southbound::Header)> raw{};
    read_exactly(raw.data(), raw.size(), message.fd);
    southbound::Header header{};
    std::memcpy(&header, raw.data(), sizeof header);
    if (header.length > southbound::kMaxMessage)
        throw ChannelError(fmt::format("data plane: a message of {} bytes; at most {}",
                                       header.length, southbound::kMaxMessage));
    message.type = static_cast<southbound::Type>(header.type);
    message.body.resize(header.length);
    read_exactly(message.body.data(), message.body.size(), message.fd);
    return message;
}

}  // namespace dr::control
