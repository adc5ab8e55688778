// Messages in and out of one client's socket.
#include "dataplane/server/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace dr::southbound {
namespace {

// Room for several messages, so that a bulk transfer takes few system calls.
constexpr std::size_t kIncoming = 4 * (sizeof(Header) + kMaxMessage);

}  // namespace

Connection::Connection(int fd, std::size_t max_outgoing)
    : fd_(fd), max_outgoing_(max_outgoing), incoming_(kIncoming) {}

Connection::~Connection() {
    close(fd_);
}

Connection::Received Connection::receive() {
    if (begin_ > 0) {
        std::memmove(incoming_.data(), incoming_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    const ssize_t n = recv(fd_, incoming_.data() + end_, incoming_.size() - end_, MSG_DONTWAIT);
    if (n > 0) {
        end_ += static_cast<std::size_t>(n);
        return Received::Data;
    }
    const bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
    return again ? Received::Nothing : Received::Closed;
}

Connection::Next Connection::next(Message* message, const char** fault) {
    if (end_ - begin_ < sizeof(Header)) return Next::Incomplete;
    std::memcpy(&message->header, incoming_.data() + begin_, sizeof(Header));
    *fault = header_fault(message->header);
    if (*fault != nullptr) return Next::Malformed;
    const std::size_t whole = sizeof(Header) + message->header.length;
    if (end_ - begin_ < whole) return Next::Incomplete;
    message->body = {incoming_.data() + begin_ + sizeof(Header), message->header.length};
    begin_ += whole;
    return Next::Message;
}

bool Connection::send(Type type, Bytes body, int passed) {
    const Header header{static_cast<std::uint32_t>(body.size()), static_cast<std::uint16_t>(type),
                        0};
    const std::size_t whole = sizeof header + body.size();
    if (outgoing_bytes_ + whole > max_outgoing_) return false;
    Chunk chunk;
    chunk.passed = passed;
    chunk.bytes.resize(whole);
    std::memcpy(chunk.bytes.data(), &header, sizeof header);
    if (!body.empty()) std::memcpy(chunk.bytes.data() + sizeof header, body.data(), body.size());
    outgoing_.push_back(std::move(chunk));
    outgoing_bytes_ += whole;
    return flush();
}

bool Connection::flush() {
    while (!outgoing_.empty()) {
        Chunk& chunk = outgoing_.front();
        const long n = send_chunk(chunk);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        chunk.sent += static_cast<std::size_t>(n);
        outgoing_bytes_ -= static_cast<std::size_t>(n);
        if (chunk.sent == chunk.bytes.size()) outgoing_.pop_front();
    }
    return true;
}

long Connection::send_chunk(const Chunk& chunk) const {
    iovec part{const_cast<std::uint8_t*>(chunk.bytes.data()) + chunk.sent,
               chunk.bytes.size() - chunk.sent};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(int))> control{};
    // The descriptor travels with the message's first byte.
    if (chunk.passed >= 0 && chunk.sent == 0) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(rights), &chunk.passed, sizeof(int));
    }
    return sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace dr::southbound
