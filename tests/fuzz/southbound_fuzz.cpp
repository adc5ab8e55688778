// Feeds bytes to the real server over a socketpair, with a real table writer behind it, and
// compares the tables with the naive model of the unit tests after each input.
//
// The first byte of an input chooses: even, a Hello of a provisioner is sent first; odd, it is not.
// The rest is the client's byte stream. `fuzz-southbound --seeds DIRECTORY` writes a seed corpus.
// Run: fuzz-southbound [-max_total_time=SECONDS] CORPUS
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>

#include "dataplane/server/server.h"
#include "dataplane/worker/exits.h"
#include "tests/unit/southbound/southbound_model.h"
#include "tests/unit/southbound/southbound_records.h"

namespace {

using namespace dr;
using namespace dr::southbound;
using namespace dr::southbound::test;

[[noreturn]] void give_up(const std::string& what) {
    std::fprintf(stderr, "fuzz-southbound: %s\n", what.c_str());
    std::abort();
}

struct World {
    World() {
        std::string error;
        tables = Tables::create({16, 64, 64, 16, 64, 64, 32, 64}, &error);
        if (tables == nullptr) give_up(error);
        rib = std::make_unique<Rib>(*tables);
        writer = std::make_unique<TableWriter>(*tables, *rib);
        counters = CountersMemfd::create(kExits, 1, 64, {}, &error);
        if (counters == nullptr) give_up(error);
        ServerConfig config;
        char folder[] = "/tmp/dr-fuzz-XXXXXX";
        if (mkdtemp(folder) == nullptr) give_up("mkdtemp");
        config.path = std::string(folder) + "/dataplane.sock";
        config.on_advance_gate = [](std::uint32_t) {};
        server = Server::create(config, *writer, *counters, &error);
        if (server == nullptr) give_up(error);
        // Nobody is to connect by name, and a crash is to leave nothing behind.
        std::filesystem::remove_all(folder);
    }
    std::unique_ptr<Tables> tables;
    std::unique_ptr<Rib> rib;
    std::unique_ptr<TableWriter> writer;
    std::unique_ptr<CountersMemfd> counters;
    std::unique_ptr<Server> server;
};

World& world() {
    static World instance;
    return instance;
}

// What the client has asked for and the server has not answered yet, as a reader of protocol.h
// understands the stream.
class Tracker final {
  public:
    void feed(Header header, Bytes body) {
        const Type type{header.type};
        if (type == Type::TxnBegin) open_.clear();
        if (is_record(type)) open_.add(type, body);
        if (type == Type::SyncBegin) requests_.push_back({type, false, {}});
        if ((type != Type::TxnCommit && type != Type::SyncEnd) || body.size() < 4) return;
        std::uint32_t flags;
        std::memcpy(&flags, body.data(), 4);
        requests_.push_back({type, (flags & kForce) != 0, open_});
    }
    // The server's answer to the oldest request.
    void answered(Type type, Status status, Model* model) {
        begin_syncs(model);
        if (requests_.empty()) give_up("an answer without a request");
        const Request request = std::move(requests_.front());
        requests_.pop_front();
        const bool sync = type == Type::SyncResult;
        if (sync != (request.type == Type::SyncEnd)) give_up("the answer to another request");
        if (status == Status::Full) return;
        const bool good =
            sync ? model->sync_end(request.force) : model->commit(request.records, request.force);
        if (good != (status == Status::Ok))
            give_up("status " + std::to_string(static_cast<unsigned>(status)) +
                    ", the model says " + (good ? "good" : "bad"));
    }

  private:
    struct Request {
        Type type;
        bool force;
        Transaction records;
    };
    void begin_syncs(Model* model) {
        while (!requests_.empty() && requests_.front().type == Type::SyncBegin) {
            model->sync_begin();
            requests_.pop_front();
        }
    }
    Transaction open_;
    std::deque<Request> requests_;
};

// Takes whole messages off the front of a growing byte string.
template <typename F>
void split(Body* bytes, F&& callback) {
    std::size_t at = 0;
    Header header;
    while (bytes->size() - at >= sizeof header) {
        std::memcpy(&header, bytes->data() + at, sizeof header);
        if (header_fault(header) != nullptr) break;
        if (bytes->size() - at - sizeof header < header.length) break;
        callback(header, Bytes(*bytes).subspan(at + sizeof header, header.length));
        at += sizeof header + header.length;
    }
    bytes->erase(bytes->begin(), bytes->begin() + static_cast<std::ptrdiff_t>(at));
}

void read_answers(int fd, Body* answers, Tracker* tracker, Model* model) {
    std::array<std::uint8_t, 8192> buffer;
    for (;;) {
        const ssize_t n = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (n <= 0) break;
        answers->insert(answers->end(), buffer.begin(), buffer.begin() + n);
    }
    split(answers, [&](const Header& header, Bytes body) {
        const Type type{header.type};
        if (type != Type::TxnResult && type != Type::SyncResult) return;
        Result result;
        if (!read_exact(body, &result)) give_up("an answer of a wrong length");
        tracker->answered(type, Status{result.status}, model);
    });
}

void converse(const Body& stream, Model* model) {
    World& w = world();
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        give_up("socketpair");
    if (!w.server->adopt(ends[0])) give_up("adopt");
    Tracker tracker;
    Body requests = stream;
    split(&requests, [&](const Header& header, Bytes body) { tracker.feed(header, body); });
    Body answers;
    for (std::size_t sent = 0; sent < stream.size() && w.server->clients() == 1;) {
        const ssize_t n =
            send(ends[1], stream.data() + sent, stream.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) sent += static_cast<std::size_t>(n);
        w.server->poll(0);
        read_answers(ends[1], &answers, &tracker, model);
    }
    for (unsigned i = 0; i < 4; ++i) w.server->poll(0);
    read_answers(ends[1], &answers, &tracker, model);
    close(ends[1]);
    w.server->poll(0);
    w.server->poll(0);
    if (w.server->clients() != 0) give_up("a client stays after its connection");
    if (w.writer->syncing()) give_up("a sync stays after its connection");
}

void check(const Model& model, const char* when) {
    World& w = world();
    w.writer->housekeeping();
    const std::string difference = model.compare(*w.tables, *w.writer);
    if (!difference.empty()) give_up(std::string(when) + ": " + difference);
}

// Everything goes, by the rules, so that each input starts from empty tables.
void empty_tables() {
    World& w = world();
    w.writer->sync_begin();
    const Outcome outcome = w.writer->sync_end(true);
    if (!outcome.ok()) give_up("emptying the tables: " + outcome.text);
    check(Model{}, "empty");
    const auto rows = w.writer->rows();
    if (rows[static_cast<std::size_t>(Table::Maps)] != 0) give_up("maps stay in use");
}

Body message(Type type, const Body& body) {
    Body bytes;
    append(&bytes,
           Header{static_cast<std::uint32_t>(body.size()), static_cast<std::uint16_t>(type), 0});
    bytes.insert(bytes.end(), body.begin(), body.end());
    return bytes;
}
template <typename T>
Body message(Type type, const T& value) {
    Body body;
    append(&body, value);
    return message(type, body);
}

Body operator+(Body a, const Body& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

Body transaction(const Txn& txn, std::uint32_t flags) {
    const Transaction& records = txn;
    Body bytes = message(Type::TxnBegin, TxnBegin{1});
    for (std::size_t i = 0; i < records.size(); ++i)
        bytes =
            bytes + message(records.type(i), Body(records.body(i).begin(), records.body(i).end()));
    return bytes + message(Type::TxnCommit, TxnCommit{flags, 0});
}

std::vector<Body> seeds() {
    const SubscriberSpec one{
        1,
        {"203.0.113.8/29", "2001:db8:5000:100::/56"},
        {{"a", 1}, {"b", 2, "2001:db8:b::7", "2001:db8:ff::1", Encapsulation::Gre}}};
    const SubscriberSpec two{2, {"203.0.113.16/29"}, {{"a", 0x01000003}}};
    const PolicySpec simple = policy(1, {{{"a", 3}, {"b", 1}}});
    const PolicySpec other{1, {{{{"b", 1}}, {{"a", 1}}}, {{{"c", 9}}}}};
    const Body fill =
        transaction(Txn().put(PoolSpec{1, "203.0.113.0/24"}).put(simple).put(one).put(two), 0);
    const Body hello = message(Type::Hello, Hello{kVersion, kReader, {}});
    const Body begin = message(Type::SyncBegin, Body{});
    const Body end = message(Type::SyncEnd, TxnCommit{0, 0});
    SubscriberSpec moved = one;
    moved.tunnels[0].id = 3;
    moved.prefixes = two.prefixes;
    const Body provisioner(1);
    return {provisioner + fill,
            provisioner + fill + transaction(Txn().put(other), 0),
            provisioner + fill + transaction(Txn().drop_subscriber(2).put(moved), 0),
            provisioner + fill + transaction(Txn().drop_subscriber(1).drop_subscriber(2), 1),
            provisioner + fill + begin + transaction(Txn().put(simple).put(one), 0) + end,
            provisioner + begin + fill + message(Type::SyncEnd, TxnCommit{1, 0}),
            provisioner + message(Type::TxnBegin, TxnBegin{1}) + message(Type::TxnAbort, Body{}),
            provisioner + message(Type::SetDrain, SetDrain{1, 0}) +
                message(Type::AdvanceGate, AdvanceGate{1, 0}) + message(Type::Subscribe, Body{}) +
                fill + message(Type::GetCounters, Body{}) + message(Type::GetState, Body{}),
            Body(1, 1) + hello + message(Type::GetState, Body{})};
}

int write_seeds(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    unsigned number = 0;
    for (const Body& seed : seeds()) {
        std::ofstream file(folder / ("seed-" + std::to_string(number++)), std::ios::binary);
        file.write(reinterpret_cast<const char*>(seed.data()),
                   static_cast<std::streamsize>(seed.size()));
        if (!file.flush()) {
            std::fprintf(stderr, "fuzz-southbound: cannot write seeds to %s\n", folder.c_str());
            return 1;
        }
    }
    return 0;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    if (*argc == 3 && std::strcmp((*argv)[1], "--seeds") == 0) std::exit(write_seeds((*argv)[2]));
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    Body stream;
    if (data[0] % 2 == 0) stream = message(Type::Hello, Hello{kVersion, kProvisioner, {}});
    stream.insert(stream.end(), data + 1, data + size);
    Model model;
    converse(stream, &model);
    check(model, "after the input");
    empty_tables();
    return 0;
}
