// What drd reads from the data plane over the southbound socket.
//
// The input is what a data plane answers to HELLO, to the requests for its tables, to a request for
// its state, and to a transaction and the end of a sync. First a byte of choices: bits 0-1, how
// many descriptors come with it; bit 2, the first answer is made a sound one. drd reads to the end
// or to what it does not understand, says so, and keeps no descriptor and no connection.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <vector>

#include "control/southbound/conversation.h"
#include "tests/fuzz/fuzz.h"

using namespace dr;
using namespace dr::control;
using fuzz::require;

namespace sb = southbound;

namespace {

using Bytes = std::vector<std::uint8_t>;

// In the abstract namespace: nothing of it stays.
const std::string& name() {
    static const std::string text = std::string(1, '\0') + "dr-fuzz-" + std::to_string(::getpid());
    return text;
}

// As Channel gives it to connect(): padded with zeros.
FileDescriptor listen() {
    FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name().data(), name().size());
    require(
        ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
            ::listen(socket.get(), 1) == 0,
        "cannot listen");
    return socket;
}

std::size_t descriptors() {
    std::size_t n = 0;
    DIR* folder = ::opendir("/proc/self/fd");
    require(folder != nullptr, "/proc/self/fd");
    while (::readdir(folder) != nullptr) ++n;
    ::closedir(folder);
    return n;
}

// All at once, then the end: what is read never has to be waited for.
void answer(const FileDescriptor& to, Bytes& bytes, unsigned count) {
    std::array<int, 3> files{};
    for (unsigned i = 0; i < count; ++i) files[i] = fuzz::memory_file({}, 4096);
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof files)> control{};
    iovec part{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (count > 0) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        cmsghdr* c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        std::memcpy(CMSG_DATA(c), files.data(), count * sizeof(int));
    }
    (void)::sendmsg(to.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    ::shutdown(to.get(), SHUT_WR);
    for (unsigned i = 0; i < count; ++i) ::close(files[i]);
}

void converse(Channel& channel) {
    require(greet(channel).version == sb::kVersion, "another version");
    const auto counters = ask_counters(channel);
    const auto live = ask_liveness(channel);
    std::string why;
    require((ask_drops(channel, why) != nullptr) == why.empty(), "no reason");
    (void)receive_state(channel);
    for (const auto expected : {sb::Type::TxnResult, sb::Type::SyncResult}) {
        const auto result = receive_result(channel, expected);
        require(text_of(result).size() <= result.text.size(), "a text beyond its field");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const FileDescriptor listener = listen();
    static const FileDescriptor none(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    fuzz::Input input(data, size);
    const unsigned choices = input.take<std::uint8_t>();
    Bytes bytes;
    if ((choices & 4U) != 0) {
        const sb::Header header{sizeof(sb::State), static_cast<std::uint16_t>(sb::Type::HelloReply),
                                0};
        bytes.resize(sizeof header + header.length);
        std::memcpy(bytes.data(), &header, sizeof header);
        std::memcpy(bytes.data() + sizeof header, &sb::kVersion, sizeof sb::kVersion);
    }
    bytes.insert(bytes.end(), input.rest().begin(), input.rest().end());
    const std::size_t before = descriptors();
    {
        Channel channel(name(), none.get(), [] { return false; });
        const FileDescriptor accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        require(accepted.valid(), "accept");
        answer(accepted, bytes, choices & 3U);
        try {
            converse(channel);
        } catch (const ChannelError& e) {
            require(std::string_view(e.what()).starts_with("data plane: "), e.what());
        } catch (const RefusalError& e) {
            require(std::string_view(e.what()).starts_with("the data plane"), e.what());
        }
    }
    require(descriptors() == before, "a descriptor stays open");
    return 0;
}
