#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <optional>

#include "dataplane/server/server.h"
#include "dataplane/tables/placement.h"
#include "dataplane/worker/exits.h"
#include "tests/unit/southbound/southbound_records.h"

namespace dr::southbound::test {
namespace {

using namespace std::chrono_literals;

class TemporaryFolder final {
  public:
    TemporaryFolder() {
        char name[] = "/tmp/dr-southbound-XXXXXX";
        path_ = mkdtemp(name);
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    [[nodiscard]] std::string socket() const { return path_ + "/dataplane.sock"; }

  private:
    std::string path_;
};

struct Reply {
    Type type;
    Body body;
    int fd = -1;

    template <typename T>
    T as() const {
        T value{};
        REQUIRE(body.size() == sizeof(T));
        std::memcpy(&value, body.data(), sizeof(T));
        return value;
    }
    Status status() const { return Status{as<Result>().status}; }
    std::string text() const { return as<Result>().text.data(); }
};

struct Fixture {
    Fixture() {
        std::string error;
        tables = Tables::create({64, 256, 256, 64, 512, 512, 256, 256}, &error);
        REQUIRE(tables != nullptr);
        rib = std::make_unique<Rib>(*tables);
        writer = std::make_unique<TableWriter>(*tables, *rib);
        const std::vector<std::string> ports{"up0", "down0"};
        counters = CountersMemfd::create(kExits, 2, 256, ports, &error);
        REQUIRE(counters != nullptr);
        config.path = folder.socket();
        config.max_outgoing = 4096;
        config.on_advance_gate = [this](std::uint32_t step) { gate = step; };
        server = Server::create(config, *writer, *counters, &error);
        INFO(error);
        REQUIRE(server != nullptr);
    }
    TemporaryFolder folder;
    std::unique_ptr<Tables> tables;
    std::unique_ptr<Rib> rib;
    std::unique_ptr<TableWriter> writer;
    std::unique_ptr<CountersMemfd> counters;
    ServerConfig config;
    std::unique_ptr<Server> server;
    std::uint32_t gate = 0;
};

// A client in the server's own thread: it lets the server work while it waits.
class Peer final {
  public:
    explicit Peer(Fixture& fixture) : server_(*fixture.server) {
        fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        sockaddr_un to{};
        to.sun_family = AF_UNIX;
        fixture.config.path.copy(to.sun_path, sizeof to.sun_path - 1);
        REQUIRE(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    }
    ~Peer() { hang_up(); }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    void hang_up() {
        if (fd_ >= 0) close(fd_);
        fd_ = -1;
    }
    void raw(const Body& bytes) {
        REQUIRE(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()));
    }
    static Body message(Type type, const Body& body) {
        Body bytes;
        append(&bytes, Header{static_cast<std::uint32_t>(body.size()),
                              static_cast<std::uint16_t>(type), 0});
        bytes.insert(bytes.end(), body.begin(), body.end());
        return bytes;
    }
    void say(Type type, const Body& body = {}) { raw(message(type, body)); }
    template <typename T>
    void say(Type type, const T& value) {
        Body body;
        append(&body, value);
        say(type, body);
    }
    void hello(std::uint32_t role, std::uint32_t version = kVersion) {
        say(Type::Hello, Hello{version, role, {}});
    }
    void commit(std::uint64_t id, const Txn& txn, std::uint32_t flags = 0) {
        const Transaction& records = txn;
        say(Type::TxnBegin, TxnBegin{id});
        for (std::size_t i = 0; i < records.size(); ++i)
            say(records.type(i), Body(records.body(i).begin(), records.body(i).end()));
        say(Type::TxnCommit, TxnCommit{flags, 0});
    }
    // The next message; nothing: the server closed the connection.
    std::optional<Reply> reply() {
        Header header;
        Reply reply{};
        if (!take(&header, sizeof header, &reply.fd)) return std::nullopt;
        reply.type = Type{header.type};
        reply.body.resize(header.length);
        if (!take(reply.body.data(), header.length, &reply.fd)) return std::nullopt;
        return reply;
    }
    Reply expect(Type type) {
        const std::optional<Reply> got = reply();
        REQUIRE(got.has_value());
        REQUIRE(static_cast<int>(got->type) == static_cast<int>(type));
        return *got;
    }
    // An Error with this status, and then the end.
    void expect_refusal(Status status) {
        const Reply error = expect(Type::Error);
        CHECK(static_cast<int>(error.status()) == static_cast<int>(status));
        CHECK_FALSE(error.text().empty());
        CHECK_FALSE(reply().has_value());
    }

  private:
    bool take(void* to, std::size_t length, int* passed) {
        auto* at = static_cast<std::uint8_t*>(to);
        const auto deadline = std::chrono::steady_clock::now() + 5s;
        while (length > 0) {
            server_.poll(0);
            iovec part{at, length};
            alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(int))> control{};
            msghdr message{};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            const ssize_t n = recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
            if (n == 0) return false;
            if (n < 0) {
                if (errno != EAGAIN || std::chrono::steady_clock::now() > deadline) return false;
                server_.poll(10);
                continue;
            }
            if (const cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr)
                std::memcpy(passed, CMSG_DATA(c), sizeof(int));
            at += n;
            length -= static_cast<std::size_t>(n);
        }
        return true;
    }

    Server& server_;
    int fd_ = -1;
};

const TierSpec kBoth{{"a", 1}, {"b", 1}};

SubscriberSpec site(std::uint32_t id) {
    return {id, {"10.0." + std::to_string(id) + ".0/24"}, {{"a", 2 * id}, {"b", 2 * id + 1}}};
}

Txn sites(std::uint32_t first, std::uint32_t last) {
    Txn txn;
    txn.put(policy(1, {kBoth}));
    for (std::uint32_t id = first; id <= last; ++id) txn.put(site(id));
    return txn;
}

State greet(Peer& peer, std::uint32_t role = kProvisioner) {
    peer.hello(role);
    return peer.expect(Type::HelloReply).as<State>();
}

TEST_CASE("Hello is answered with version, identity and an empty state") {
    Fixture f;
    Peer peer(f);
    const State state = greet(peer);
    CHECK(state.version == kVersion);
    CHECK(state.uuid == f.counters->uuid());
    CHECK(std::string(state.build.data()) == DR_VERSION);
    CHECK(state.epoch == 0);
    CHECK(state.flags == 0);
    CHECK(state.rows[2] == 0);
    CHECK(state.capacity[2] == 64);
    const Memory& last = state.memory[state.memories - 1];
    CHECK(std::string(last.name.data()) == "counters");
    CHECK(last.capacity_bytes == f.counters->bytes());
}

TEST_CASE("another protocol version is refused by a message that names both") {
    Fixture f;
    Peer peer(f);
    peer.hello(kProvisioner, 7);
    const Reply error = peer.expect(Type::Error);
    CHECK(error.status() == Status::BadVersion);
    CHECK_THAT(error.text(), Catch::Contains("7") && Catch::Contains(std::to_string(kVersion)));
    CHECK_FALSE(peer.reply().has_value());
}

TEST_CASE("a transaction is answered with its id, the epoch and the rows") {
    Fixture f;
    Peer peer(f);
    greet(peer);
    peer.commit(77, sites(1, 3));
    const auto result = peer.expect(Type::TxnResult).as<Result>();
    CHECK(result.status == 0);
    CHECK(result.id == 77);
    CHECK(result.epoch == 1);
    CHECK(result.rows[2] == 3);
    CHECK(result.rows[3] == 6);
}

TEST_CASE("a refused transaction leaves the connection and the tables as they were") {
    Fixture f;
    Peer peer(f);
    greet(peer);
    peer.commit(1, sites(1, 3));
    peer.expect(Type::TxnResult);
    SubscriberSpec bad = site(9);
    bad.policy = 5;
    peer.commit(2, Txn().put(site(4)).put(bad));
    const Reply refused = peer.expect(Type::TxnResult);
    CHECK(refused.status() == Status::BadReference);
    CHECK(refused.as<Result>().record == 1);
    CHECK(refused.as<Result>().rows[2] == 3);
    peer.say(Type::GetState);
    CHECK(peer.expect(Type::State).as<State>().epoch == 1);
}

TEST_CASE("a second provisioner is refused, a reader is not") {
    Fixture f;
    Peer first(f);
    greet(first);
    Peer second(f);
    second.hello(kProvisioner);
    second.expect_refusal(Status::NotPermitted);
    Peer reader(f);
    greet(reader, kReader);
    reader.say(Type::TxnBegin, TxnBegin{1});
    reader.expect_refusal(Status::NotPermitted);
    first.say(Type::GetState);
    first.expect(Type::State);
}

TEST_CASE("when the provisioner dies its open transaction is dropped and the next one is welcome") {
    Fixture f;
    auto first = std::make_unique<Peer>(f);
    greet(*first);
    first->commit(1, sites(1, 4));
    first->expect(Type::TxnResult);
    first->say(Type::SyncBegin);
    first->commit(2, sites(1, 1));
    first->expect(Type::TxnResult);
    first->say(Type::TxnBegin, TxnBegin{3});
    first->say(Type::UpsertSubscriber, encode(site(9)));
    first.reset();
    // No poll in between: the server learns of the end and of the new one at once.
    Peer next(f);
    const State state = greet(next);
    CHECK(state.rows[2] == 4);
    CHECK_FALSE(f.writer->syncing());
    next.say(Type::TxnCommit, TxnCommit{});
    next.expect_refusal(Status::BadSequence);
}

TEST_CASE("a sync over the socket sweeps what was not sent, and says so in State") {
    Fixture f;
    Peer peer(f);
    greet(peer);
    peer.commit(1, sites(1, 4));
    peer.expect(Type::TxnResult);
    peer.say(Type::SyncBegin);
    peer.commit(2, sites(1, 2));
    peer.expect(Type::TxnResult);
    peer.commit(3, sites(3, 3));
    peer.expect(Type::TxnResult);
    peer.say(Type::SyncEnd, TxnCommit{});
    const auto result = peer.expect(Type::SyncResult).as<Result>();
    CHECK(result.status == 0);
    CHECK(result.rows[2] == 3);
    peer.say(Type::GetState);
    CHECK((peer.expect(Type::State).as<State>().flags & kStateSynced) != 0);
}

TEST_CASE("the force guard is answered with NeedsForce, and force passes it") {
    Fixture f;
    Peer peer(f);
    greet(peer);
    peer.commit(1, sites(1, 2));
    peer.expect(Type::TxnResult);
    peer.say(Type::SyncBegin);
    peer.say(Type::SyncEnd, TxnCommit{});
    CHECK(peer.expect(Type::SyncResult).status() == Status::NeedsForce);
    peer.say(Type::SyncEnd, TxnCommit{kForce, 0});
    const Reply forced = peer.expect(Type::SyncResult);
    CHECK(forced.status() == Status::Ok);
    CHECK(forced.as<Result>().rows[2] == 0);
}

TEST_CASE("messages that arrive byte by byte are understood") {
    Fixture f;
    Peer peer(f);
    Body hello;
    append(&hello, Hello{kVersion, kReader, {}});
    for (const std::uint8_t byte : Peer::message(Type::Hello, hello)) {
        peer.raw({byte});
        f.server->poll(0);
    }
    peer.expect(Type::HelloReply);
}

TEST_CASE("malformed input is answered with Error and the end of the connection") {
    Fixture f;
    Peer peer(f);
    SECTION("no Hello first") {
        peer.say(Type::GetState);
        peer.expect_refusal(Status::BadSequence);
    }
    SECTION("a length beyond the limit") {
        Body header;
        append(&header, Header{kMaxMessage + 1, 1, 0});
        peer.raw(header);
        peer.expect_refusal(Status::Malformed);
    }
    SECTION("unknown flags in a header") {
        Body header;
        append(&header, Header{0, 30, 1});
        peer.raw(header);
        peer.expect_refusal(Status::Malformed);
    }
    SECTION("garbage") {
        peer.raw(Body(4000, 0xa5));
        peer.expect_refusal(Status::Malformed);
    }
    SECTION("an unknown message type") {
        greet(peer, kReader);
        peer.say(Type{99});
        peer.expect_refusal(Status::Malformed);
    }
    SECTION("a short Hello") {
        peer.say(Type::Hello, Body{kVersion, 0, 0, 0});
        peer.expect_refusal(Status::Malformed);
    }
    SECTION("a body where there is none") {
        greet(peer, kReader);
        peer.say(Type::GetState, Body(4));
        peer.expect_refusal(Status::Malformed);
    }
    SECTION("a record outside a transaction") {
        greet(peer);
        peer.say(Type::UpsertSubscriber, encode(site(1)));
        peer.expect_refusal(Status::BadSequence);
    }
    SECTION("a transaction within a transaction") {
        greet(peer);
        peer.say(Type::TxnBegin, TxnBegin{1});
        peer.say(Type::TxnBegin, TxnBegin{2});
        peer.expect_refusal(Status::BadSequence);
    }
    CHECK(f.server->clients() == 0);
}

TEST_CASE("a transaction of too many bytes is refused without being kept") {
    Fixture f;
    Peer peer(f);
    greet(peer);
    peer.say(Type::TxnBegin, TxnBegin{1});
    const Body big(kMaxMessage);
    bool alive = true;
    for (unsigned i = 0; alive && i < 2 + kMaxTxnBytes / kMaxMessage; ++i) {
        const Body message = Peer::message(Type::UpsertSubscriber, big);
        std::size_t sent = 0;
        while (alive && sent < message.size()) {
            Body rest(message.begin() + static_cast<long>(sent),
                      message.begin() + static_cast<long>(std::min(sent + 32768, message.size())));
            peer.raw(rest);
            sent += rest.size();
            f.server->poll(0);
            alive = f.server->clients() == 1;
        }
    }
    CHECK_FALSE(alive);
    peer.expect_refusal(Status::Malformed);
    CHECK(f.writer->epoch() == 0);
}

TEST_CASE("a client that does not read is dropped, and the others notice nothing") {
    Fixture f;
    Peer deaf(f);
    greet(deaf, kReader);
    Peer other(f);
    greet(other, kReader);
    deaf.say(Type::Subscribe);
    f.server->poll(0);
    REQUIRE(f.server->clients() == 2);
    for (unsigned i = 0; i < 100'000 && f.server->clients() == 2; ++i)
        f.server->publish(EventKind::LinkUp, i, 0);
    CHECK(f.server->clients() == 1);
    other.say(Type::GetState);
    other.expect(Type::State);
}

TEST_CASE("subscribers of events hear of commits, numbered without gaps") {
    Fixture f;
    Peer listener(f);
    greet(listener, kReader);
    listener.say(Type::Subscribe);
    f.server->poll(0);
    Peer peer(f);
    greet(peer);
    peer.commit(1, sites(1, 1));
    peer.expect(Type::TxnResult);
    peer.commit(2, sites(1, 2));
    peer.expect(Type::TxnResult);
    const Event first = listener.expect(Type::Event).as<Event>();
    const Event second = listener.expect(Type::Event).as<Event>();
    CHECK(first.kind == static_cast<std::uint32_t>(EventKind::Committed));
    CHECK(first.value == 1);
    CHECK(second.value == 2);
    CHECK(second.sequence == first.sequence + 1);
}

TEST_CASE("drain and gate reach the data plane") {
    Fixture f;
    Peer peer(f);
    greet(peer);
    peer.say(Type::SetDrain, SetDrain{1, 0});
    CHECK((peer.expect(Type::State).as<State>().flags & kStateDrain) != 0);
    CHECK(f.server->draining());
    Peer reader(f);
    greet(reader, kReader);
    reader.say(Type::AdvanceGate, AdvanceGate{3, 0});
    reader.expect(Type::State);
    CHECK(f.gate == 3);
}

TEST_CASE("the counters descriptor can be read, and neither written nor resized") {
    Fixture f;
    Peer peer(f);
    greet(peer, kReader);
    f.counters->worker_block(1)->exits[3] = 42;
    f.counters->tunnel_counters(1)[17].uplink_bytes = 99;
    peer.say(Type::GetCounters);
    const Reply reply = peer.expect(Type::CountersReply);
    const auto info = reply.as<CountersReply>();
    REQUIRE(reply.fd >= 0);
    CHECK(info.uuid == f.counters->uuid());
    struct stat file {};
    REQUIRE(fstat(reply.fd, &file) == 0);
    CHECK(static_cast<std::uint64_t>(file.st_size) == info.bytes);

    CHECK(mmap(nullptr, info.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fd, 0) == MAP_FAILED);
    CHECK(ftruncate(reply.fd, 0) != 0);
    CHECK(ftruncate(reply.fd, static_cast<off_t>(info.bytes * 2)) != 0);
    CHECK(write(reply.fd, "x", 1) < 0);
    CHECK(fcntl(reply.fd, F_ADD_SEALS, F_SEAL_WRITE) != 0);

    void* map = mmap(nullptr, info.bytes, PROT_READ, MAP_SHARED, reply.fd, 0);
    REQUIRE(map != MAP_FAILED);
    CHECK(mprotect(map, info.bytes, PROT_READ | PROT_WRITE) != 0);
    const auto* bytes = static_cast<const std::uint8_t*>(map);
    const auto* header = static_cast<const CountersHeader*>(map);
    CHECK(header->magic == kCountersMagic);
    CHECK(header->workers == 2);
    CHECK(header->exits == kExitCount);
    CHECK(header->uuid == info.uuid);
    const auto* names = reinterpret_cast<const ExitName*>(bytes + header->exit_names);
    CHECK(std::string(names[0].name.data()) == kExits[0].name);
    const auto* ports = reinterpret_cast<const PortName*>(bytes + header->port_names);
    CHECK(std::string(ports[1].name.data()) == "down0");
    const auto* block =
        reinterpret_cast<const WorkerBlock*>(bytes + header->worker_blocks + header->worker_stride);
    CHECK(block->exits[3] == 42);
    const auto* tunnels = reinterpret_cast<const TunnelCounters*>(bytes + header->tunnel_blocks +
                                                                  header->tunnel_stride);
    CHECK(tunnels[17].uplink_bytes == 99);
    f.counters->zero_tunnel(17);
    CHECK(tunnels[17].uplink_bytes == 0);
    // A worker that had read the sum before it was zeroed stores it, with its packet added.
    f.counters->tunnel_counters(1)[17].uplink_bytes = 99 + 60;
    f.counters->settle();
    CHECK(tunnels[17].uplink_bytes == 0);
    f.counters->tunnel_counters(1)[17].uplink_bytes = 120;
    f.counters->settle();
    CHECK(tunnels[17].uplink_bytes == 120);
    munmap(map, info.bytes);
    close(reply.fd);
}

TEST_CASE("the liveness descriptor is handed over sealed, and refused where there is none") {
    Fixture f;
    Peer stranger(f);
    greet(stranger, kReader);
    stranger.say(Type::GetLiveness);
    stranger.expect(Type::Error);
    stranger.hang_up();

    std::string error;
    const auto memory = LivenessMemfd::create(256, 2, f.counters->uuid(), &error);
    REQUIRE(memory != nullptr);
    f.server.reset();
    f.config.liveness = memory.get();
    f.server = Server::create(f.config, *f.writer, *f.counters, &error);
    REQUIRE(f.server != nullptr);
    Peer peer(f);
    greet(peer, kReader);
    peer.say(Type::GetLiveness);
    const Reply reply = peer.expect(Type::LivenessReply);
    const auto info = reply.as<LivenessReply>();
    REQUIRE(reply.fd >= 0);
    CHECK(info.uuid == f.counters->uuid());
    CHECK(mmap(nullptr, info.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fd, 0) == MAP_FAILED);
    CHECK(ftruncate(reply.fd, 0) != 0);
    void* map = mmap(nullptr, info.bytes, PROT_READ, MAP_SHARED, reply.fd, 0);
    REQUIRE(map != MAP_FAILED);
    const auto* header = static_cast<const LivenessHeader*>(map);
    CHECK(header->magic == kLivenessMagic);
    CHECK(header->tunnel_slots == 256);
    CHECK(header->threads == 2);
    munmap(map, info.bytes);
    close(reply.fd);
    // What refers to it goes first.
    f.server.reset();
}

TEST_CASE("the notes of drops are handed over, and refused where there are none") {
    Fixture f;
    Peer stranger(f);
    greet(stranger, kReader);
    stranger.say(Type::GetDrops);
    stranger.expect(Type::Error);
    stranger.hang_up();

    std::string error;
    const auto memory =
        DropsMemfd::create(kExitCount, 2, 256, f.counters->uuid(), 1'000'000'000, &error);
    REQUIRE(memory != nullptr);
    f.server.reset();
    f.config.drops = memory.get();
    f.server = Server::create(f.config, *f.writer, *f.counters, &error);
    REQUIRE(f.server != nullptr);
    Peer peer(f);
    greet(peer, kReader);
    peer.say(Type::GetDrops);
    const Reply reply = peer.expect(Type::DropsReply);
    const auto info = reply.as<DropsReply>();
    REQUIRE(reply.fd >= 0);
    CHECK(info.uuid == f.counters->uuid());
    void* map = mmap(nullptr, info.bytes, PROT_READ, MAP_SHARED, reply.fd, 0);
    REQUIRE(map != MAP_FAILED);
    CHECK(static_cast<const DropsHeader*>(map)->magic == kDropsMagic);
    munmap(map, info.bytes);
    close(reply.fd);
    f.server.reset();
}

TEST_CASE("tunnel counters of two workers share no huge page, and wait to be placed on a node") {
    constexpr std::ptrdiff_t kHugePage = 2 << 20;
    std::string error;
    const auto counters = CountersMemfd::create(kExits, 2, 256, {}, &error);
    REQUIRE(counters != nullptr);
    const auto* first = reinterpret_cast<const char*>(counters->tunnel_counters(0));
    const auto* second = reinterpret_cast<const char*>(counters->tunnel_counters(1));
    CHECK(second - first >= kHugePage);
    CHECK((second - first) % kHugePage == 0);
    State state{};
    counters->report(&state);
    CHECK(state.memory[0].bytes <= kHugePage);  // names and workers' blocks at most
    // Not where the kernel places nothing at all.
    alignas(4096) static std::array<char, 4096> page;
    if (!place(page.data(), page.size(), 1)) return;
    CHECK(counters->place(0, 0));
    CHECK(counters->place(1, 0));
}

TEST_CASE("the socket file has mode 0660 and is gone after the server") {
    Fixture f;
    struct stat file {};
    REQUIRE(stat(f.config.path.c_str(), &file) == 0);
    CHECK((file.st_mode & 07777) == 0660);
    f.server.reset();
    CHECK(stat(f.config.path.c_str(), &file) != 0);
}

TEST_CASE("a socket that a live process listens on is not taken over") {
    Fixture f;
    std::string error;
    CHECK(Server::create(f.config, *f.writer, *f.counters, &error) == nullptr);
    CHECK_THAT(error, Catch::Contains(f.config.path) && Catch::Contains("listens"));
    Peer peer(f);
    greet(peer);
}

TEST_CASE("the socket file of a dead process is replaced, any other file is not") {
    TemporaryFolder folder;
    Fixture f;
    f.config.path = folder.socket();
    const int dead = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    f.config.path.copy(at.sun_path, sizeof at.sun_path - 1);
    REQUIRE(bind(dead, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    close(dead);
    std::string error;
    f.server = Server::create(f.config, *f.writer, *f.counters, &error);
    INFO(error);
    REQUIRE(f.server != nullptr);
    Peer peer(f);
    greet(peer);

    ServerConfig other = f.config;
    other.path += ".txt";
    close(open(other.path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK(Server::create(other, *f.writer, *f.counters, &error) == nullptr);
    CHECK(std::filesystem::exists(other.path));
}

}  // namespace
}  // namespace dr::southbound::test
