// The link against a scripted peer on a real socket: the faults that the real data plane does not
// make on demand.
#include "control/southbound/link.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <functional>
#include <set>

#include "control/store/sqlite.h"
#include "dataplane/server/liveness_memfd_writer.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

namespace sb = southbound;

// Speaks the protocol as an empty data plane does, except where the script says otherwise.
class FakeDataplane {
  public:
    // What to do with the nth (from 0) commit of this connection; Ok: accept.
    using OnCommit = std::function<sb::Status(int connection, int commit)>;

    FakeDataplane(std::string path, std::uint32_t version, OnCommit on_commit)
        : path_(std::move(path)),
          version_(version),
          on_commit_(std::move(on_commit)),
          liveness_(make_liveness()),
          listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) ==
                0);
        REQUIRE(::listen(listener_.get(), 4) == 0);
        thread_ = std::thread([this] { run(); });
    }
    FakeDataplane(const FakeDataplane&) = delete;
    FakeDataplane& operator=(const FakeDataplane&) = delete;
    ~FakeDataplane() {
        ::shutdown(listener_.get(), SHUT_RDWR);
        {
            const std::lock_guard lock(mutex_);
            if (client_ >= 0) ::shutdown(client_, SHUT_RDWR);
        }
        thread_.join();
    }

    int syncs() const { return syncs_; }
    int connections() const { return connections_; }
    std::atomic<std::uint32_t> around_own{0};  // as State has it
    std::uint32_t last_sync_flags() const { return last_sync_flags_; }
    std::uint32_t last_commit_flags() const { return last_commit_flags_; }

  private:
    static std::unique_ptr<sb::LivenessMemfd> make_liveness() {
        std::string error;
        auto table = sb::LivenessMemfd::create(16, 1, {1}, &error);
        INFO(error);
        REQUIRE(table != nullptr);
        sb::LivenessState state{};
        state.tunnel = 0x01000007;
        table->write_row(7, state);
        return table;
    }
    void run() {
        for (;;) {
            const FileDescriptor client(::accept(listener_.get(), nullptr, nullptr));
            if (!client.valid()) return;
            {
                const std::lock_guard lock(mutex_);
                client_ = client.get();
            }
            commits_ = 0;
            converse(client.get());
            ++connections_;
            const std::lock_guard lock(mutex_);
            client_ = -1;
        }
    }

    static bool read_all(int fd, void* to, std::size_t size) {
        return size == 0 || ::recv(fd, to, size, MSG_WAITALL) == static_cast<ssize_t>(size);
    }
    template <typename T>
    static void reply(int fd, sb::Type type, const T& body, int descriptor = -1) {
        sb::Header header{sizeof(T), static_cast<std::uint16_t>(type), 0};
        std::array<iovec, 2> parts{iovec{&header, sizeof header},
                                   iovec{const_cast<T*>(&body), sizeof body}};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = parts.size();
        if (descriptor >= 0) {
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            cmsghdr* c = CMSG_FIRSTHDR(&message);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            std::memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
        }
        ::sendmsg(fd, &message, MSG_NOSIGNAL);
    }
    sb::Result result(sb::Status status) const {
        sb::Result r{};
        r.id = transaction_;
        r.status = static_cast<std::uint32_t>(status);
        r.epoch = 1;
        if (status != sb::Status::Ok)
            std::string("table subscribers is full").copy(r.text.data(), 100);
        return r;
    }
    static void send_counters(int fd) {
        const FileDescriptor memory(::memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        sb::CountersHeader header{};
        header.magic = sb::kCountersMagic;
        header.version = 1;
        header.uuid[0] = 1;
        header.worker_stride = sizeof(sb::WorkerBlock);
        REQUIRE(::ftruncate(memory.get(), 4096) == 0);
        REQUIRE(::pwrite(memory.get(), &header, sizeof header, 0) == sizeof header);
        REQUIRE(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
        sb::CountersReply body{4096, {}};
        body.uuid[0] = 1;
        reply(fd, sb::Type::CountersReply, body, memory.get());
    }

    void converse(int fd) {
        sb::Header header{};
        std::vector<std::uint8_t> body;
        while (read_all(fd, &header, sizeof header)) {
            body.resize(header.length);
            if (!read_all(fd, body.data(), body.size())) return;
            if (!answer(fd, static_cast<sb::Type>(header.type), body)) return;
        }
    }

    bool answer(int fd, sb::Type type, const std::vector<std::uint8_t>& body) {
        sb::State state{};
        state.version = version_;
        state.uuid[0] = 1;
        state.around_own = around_own;
        switch (type) {
            case sb::Type::Hello:
                reply(fd, sb::Type::HelloReply, state);
                return true;
            case sb::Type::GetCounters:
                send_counters(fd);
                return true;
            case sb::Type::GetLiveness:
                reply(fd, sb::Type::LivenessReply,
                      sb::LivenessReply{liveness_->bytes(), liveness_->uuid()}, liveness_->fd());
                return true;
            case sb::Type::GetDrops:
                // Of no use: drd goes on without.
                reply(fd, sb::Type::DropsReply,
                      sb::DropsReply{liveness_->bytes(), liveness_->uuid()}, liveness_->fd());
                return true;
            case sb::Type::GetState:
                reply(fd, sb::Type::State, state);
                return true;
            case sb::Type::TxnBegin:
                std::memcpy(&transaction_, body.data(), 8);
                return true;
            case sb::Type::TxnCommit: {
                std::uint32_t flags = 0;
                std::memcpy(&flags, body.data(), 4);
                last_commit_flags_ = flags;
                const auto status = on_commit_(connections_, commits_++);
                if (status == sb::Status::BadSequence) return false;  // hangs up
                reply(fd, sb::Type::TxnResult, result(status));
                return true;
            }
            case sb::Type::SyncEnd: {
                std::uint32_t flags = 0;
                std::memcpy(&flags, body.data(), 4);
                last_sync_flags_ = flags;
                ++syncs_;
                reply(fd, sb::Type::SyncResult, result(sb::Status::Ok));
                return true;
            }
            default:
                return true;
        }
    }

    std::string path_;
    std::uint32_t version_;
    OnCommit on_commit_;
    std::unique_ptr<sb::LivenessMemfd> liveness_;
    FileDescriptor listener_;
    std::thread thread_;
    std::mutex mutex_;
    int client_ = -1;
    std::uint64_t transaction_ = 0;
    int commits_ = 0;
    std::atomic<int> syncs_{0};
    std::atomic<int> connections_{0};
    std::atomic<std::uint32_t> last_sync_flags_{0};
    std::atomic<std::uint32_t> last_commit_flags_{0};
};

sb::Status accept_all(int, int) {
    return sb::Status::Ok;
}

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    Catalog catalog{*store};
    Link link{catalog, folder.file("dp.sock")};

    Fixture() {
        catalog.set_installer(link);
        for (const char* json : {kPool4, kPolicy}) REQUIRE(apply(json).failure.ok());
    }
    Result apply(const char* json, Request::Mode mode = Request::Mode::Apply) {
        return catalog.apply_one({mode, object(json)});
    }
    bool comes_to(LinkState state) {
        return eventually([&] { return link.status(false).state == state; });
    }
};

}  // namespace

TEST_CASE("a data plane of another version is refused with a detail that names both") {
    Fixture f;
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion + 1, accept_all);
    f.link.start();
    REQUIRE(f.comes_to(LinkState::Refused));
    CHECK_THAT(f.link.status(false).detail,
               Catch::Contains("speaks version " + std::to_string(sb::kVersion + 1)));
    CHECK(dataplane.syncs() == 0);
    f.link.stop();
}

TEST_CASE("the liveness table of a connected data plane is at hand until it goes away") {
    Fixture f;
    CHECK(f.link.live() == nullptr);
    auto dataplane =
        std::make_unique<FakeDataplane>(f.folder.file("dp.sock"), sb::kVersion, accept_all);
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    const auto live = f.link.live();
    REQUIRE(live != nullptr);
    CHECK(live->tunnel(0x01000007));
    dataplane.reset();
    REQUIRE(eventually([&] { return f.link.live() == nullptr; }));
    CHECK(live->tunnel(0x01000007));
    f.link.stop();
}

TEST_CASE("a data plane that hangs up in the middle of a replay is replayed again") {
    Fixture f;
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int connection, int) {
        return connection == 0 ? sb::Status::BadSequence : sb::Status::Ok;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(dataplane.connections() == 1);
    CHECK(dataplane.syncs() == 1);
    CHECK(dataplane.last_sync_flags() == 0);
    CHECK(f.link.status(false).installed_revision == f.catalog.revision());
    f.link.stop();
}

TEST_CASE("a change that a data plane in sync refuses is refused with its words and not stored") {
    Fixture f;
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int, int commit) {
        return commit == 0 ? sb::Status::Ok : sb::Status::Full;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    const Result result = f.apply(kSite);
    CHECK(result.failure.code == Code::ResourceExhausted);
    CHECK_THAT(result.failure.message, Catch::Contains("table subscribers is full"));
    CHECK_FALSE(f.catalog.get(Kind::Subscriber, "site-1"));
    f.link.stop();
}

TEST_CASE("a replay that the data plane refuses is shown, and tried again when the store changes") {
    Fixture f;
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int connection, int) {
        return connection == 0 ? sb::Status::Full : sb::Status::Ok;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::Refused));
    CHECK_THAT(f.link.status(false).detail, Catch::Contains("table subscribers is full"));
    CHECK(f.apply(kSite).outcome == Result::Outcome::Created);
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(f.link.status(false).installed_revision == f.catalog.revision());
    f.link.stop();
}

TEST_CASE("one object that the data plane cannot take is named and keeps no other from it") {
    Fixture f;
    REQUIRE(f.apply(kSite).failure.ok());
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int, int commit) {
        return commit == 0 ? sb::Status::Malformed : sb::Status::Ok;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::Incomplete));
    CHECK_THAT(f.link.status(false).detail, Catch::Contains("pool/v4 is not installed"));
    CHECK_THAT(f.link.status(false).left_out, Catch::Contains("pool/v4 is not installed"));
    CHECK(dataplane.syncs() == 1);
    // A change may have taken the cause away.
    CHECK(f.apply(kSite, Request::Mode::Delete).outcome == Result::Outcome::Deleted);
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(dataplane.syncs() == 2);
    CHECK(dataplane.connections() == 0);
    CHECK(f.link.status(false).detail.empty());
    CHECK(f.link.status(false).left_out.empty());
    f.link.stop();
}

TEST_CASE("a hundred objects that the data plane cannot take keep no other from it") {
    Fixture f;
    for (int n = 0; n < 120; ++n) {
        const std::string json = R"({"pool":{"name":"more-)" + std::to_string(n) +
                                 R"(","prefix":"10.)" + std::to_string(n) + R"(.0.0/16"}})";
        REQUIRE(f.apply(json.c_str()).failure.ok());
    }
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int, int commit) {
        return commit < 100 ? sb::Status::Malformed : sb::Status::Ok;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::Incomplete));
    CHECK_THAT(f.link.status(false).detail, Catch::EndsWith("and 92 more are not installed"));
    f.link.stop();
}

TEST_CASE("a subscriber around something of the router's own is named while it is so") {
    Fixture f;
    REQUIRE(f.apply(kSite).failure.ok());
    FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, accept_all);
    dataplane.around_own =
        std::get<v1::Subscriber>(*f.catalog.get(Kind::Subscriber, "site-1")).id();
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    REQUIRE(eventually([&] { return !f.link.status(true).around_own.empty(); }));
    CHECK_THAT(f.link.status(false).detail,
               Catch::StartsWith("subscriber/site-1 has a prefix around an address"));
    dataplane.around_own = 0;
    REQUIRE(eventually([&] { return f.link.status(true).detail.empty(); }));
    f.link.stop();
}

TEST_CASE(
    "a change that the store took during the replay, and the data plane refuses, is replayed") {
    Fixture f;
    const FakeDataplane dataplane(
        f.folder.file("dp.sock"), sb::kVersion, [&f](int connection, int commit) {
            if (connection == 0 && commit == 0) (void)f.apply(kSite);
            return connection == 0 && commit == 1 ? sb::Status::BadReference : sb::Status::Ok;
        });
    f.link.start();
    REQUIRE(eventually([&] { return dataplane.connections() == 1; }));
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(f.link.status(false).installed_revision == f.catalog.revision());
    f.link.stop();
}

TEST_CASE("an explicit deletion carries force; a sweep only against a known incarnation") {
    Fixture f;
    REQUIRE(f.apply(kSite).failure.ok());
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, accept_all);
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(dataplane.last_sync_flags() == 0);
    CHECK(f.apply(kSite, Request::Mode::Delete).outcome == Result::Outcome::Deleted);
    CHECK(dataplane.last_commit_flags() == sb::kForce);
    f.link.resync();
    REQUIRE(eventually([&] { return dataplane.syncs() == 2; }));
    CHECK(dataplane.last_sync_flags() == sb::kForce);
    f.link.stop();
}

}  // namespace dr::control::test
