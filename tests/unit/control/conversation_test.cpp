// What drd makes of a data plane that answers more than was asked.
#include "control/southbound/conversation.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <thread>

namespace dr::control {
namespace {

namespace sb = southbound;
using Bytes = std::vector<std::uint8_t>;

// A listening socket without a file, and drd's connection to it.
struct Pair {
    Pair() : listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        std::string name(1, '\0');
        name += "dr-conversation-test-" + std::to_string(::getpid());
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::copy(name.begin(), name.end(), address.sun_path);
        REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address),
                       sizeof address) == 0);
        REQUIRE(::listen(listener.get(), 1) == 0);
        channel = std::make_unique<Channel>(name, -1, [] { return false; });
        far = FileDescriptor(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(far.valid());
    }
    FileDescriptor listener;
    std::unique_ptr<Channel> channel;
    FileDescriptor far;
};

template <typename T>
Bytes message(sb::Type type, const T& body) {
    const sb::Header header{sizeof body, static_cast<std::uint16_t>(type), 0};
    Bytes out(sizeof header + sizeof body);
    std::memcpy(out.data(), &header, sizeof header);
    std::memcpy(out.data() + sizeof header, &body, sizeof body);
    return out;
}

unsigned open_descriptors() {
    unsigned n = 0;
    for (int fd = 0; fd < 1024; ++fd) n += ::fcntl(fd, F_GETFD) >= 0 ? 1U : 0U;
    return n;
}

}  // namespace

TEST_CASE("a State is found behind more events than a stack has room for") {
    Pair pair;
    std::thread data_plane([&] {
        const Bytes event = message(sb::Type::Event, sb::Event{});
        Bytes all;
        for (int i = 0; i < 200'000; ++i) all.insert(all.end(), event.begin(), event.end());
        sb::State state{};
        state.epoch = 7;
        const Bytes last = message(sb::Type::State, state);
        all.insert(all.end(), last.begin(), last.end());
        for (std::size_t at = 0; at < all.size();) {
            const ssize_t n =
                ::send(pair.far.get(), all.data() + at, all.size() - at, MSG_NOSIGNAL);
            if (n <= 0) return;
            at += static_cast<std::size_t>(n);
        }
    });
    std::uint64_t epoch = 0;
    CHECK_NOTHROW(epoch = receive_state(*pair.channel).epoch);
    ::shutdown(pair.far.get(), SHUT_RDWR);
    data_plane.join();
    CHECK(epoch == 7);
}

TEST_CASE("of two descriptors in one message none stays open") {
    Pair pair;
    const unsigned before = open_descriptors();
    const FileDescriptor file(::memfd_create("conversation-test", MFD_CLOEXEC));
    Bytes bytes = message(sb::Type::Event, sb::Event{});
    alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
    iovec part{bytes.data(), bytes.size()};
    msghdr sent{};
    sent.msg_iov = &part;
    sent.msg_iovlen = 1;
    sent.msg_control = control.data();
    sent.msg_controllen = control.size();
    cmsghdr* c = CMSG_FIRSTHDR(&sent);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    const std::array both{file.get(), file.get()};
    std::memcpy(CMSG_DATA(c), both.data(), sizeof both);
    REQUIRE(::sendmsg(pair.far.get(), &sent, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
    CHECK(pair.channel->receive().fd.valid());
    CHECK(open_descriptors() == before + 1);  // `file`
}

}  // namespace dr::control
