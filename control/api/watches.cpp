// Limits open streams and ends calls whose client does not read.
#include "control/api/watches.h"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <thread>
#include <vector>

#include "control/daemon/connections.h"

namespace dr::control {
namespace {

using Clock = std::chrono::steady_clock;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

constexpr std::chrono::milliseconds kLook{250};
// Time from cancelling a call to suspecting its connection, and from that to ending the connection.
constexpr std::chrono::seconds kHung{1};
// Time for a client that reads to receive the last message when the server ends.
constexpr std::chrono::milliseconds kLastWord{200};

// Sockets of the process whose own end is this Unix socket or TCP port, with what their peers have
// not taken yet.
struct Stuck {
    int fd;
    std::uint64_t cookie;
    int bytes;
};
std::vector<Stuck> sockets_with_output(const std::string& path, int port) {
    std::vector<Stuck> out;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", none)) {
        const int fd = std::atoi(entry.path().filename().c_str());
        sockaddr_storage own{};
        socklen_t size = sizeof own;
        if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) != 0) continue;
        bool ours = false;
        if (own.ss_family == AF_UNIX)
            ours = !path.empty() && path == reinterpret_cast<const sockaddr_un*>(&own)->sun_path;
        else if (own.ss_family == AF_INET)
            ours = ntohs(reinterpret_cast<const sockaddr_in*>(&own)->sin_port) == port;
        else if (own.ss_family == AF_INET6)
            ours = ntohs(reinterpret_cast<const sockaddr_in6*>(&own)->sin6_port) == port;
        int bytes = 0;
        if (ours && ::ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0)
            out.push_back({fd, socket_cookie(fd), bytes});
    }
    return out;
}

}  // namespace

StreamLimit::Place::~Place() {
    if (limit_ == nullptr) return;
    const std::lock_guard lock(limit_->mutex_);
    --limit_->open_;
    leave(limit_->clients_, caller_.client);
    leave(limit_->connections_, caller_.connection);
}

void StreamLimit::leave(Counts& counts, const std::string& name) {
    const auto at = counts.find(name);
    if (at != counts.end() && --at->second == 0) counts.erase(at);
}

StreamLimit::Place StreamLimit::enter(const Caller& caller) {
    const std::lock_guard lock(mutex_);
    const auto open = [](const Counts& counts, const std::string& name) {
        const auto at = counts.find(name);
        return at == counts.end() ? 0U : at->second;
    };
    if (open_ >= most_.all || open(clients_, caller.client) >= most_.of_client ||
        open(connections_, caller.connection) >= most_.of_connection)
        return {};
    ++open_;
    ++clients_[caller.client];
    ++connections_[caller.connection];
    return {*this, caller};
}

grpc::Status StreamLimit::refusal() const {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED,
            fmt::format("too many {} are open: drd serves {} at a time, {} of one client, and {} "
                        "of one connection; end some, and start this one again",
                        what_, most_.all, most_.of_client, most_.of_connection)};
}

struct StallGuard::State {
    std::chrono::milliseconds patience{};
    OpenCalls* open = nullptr;
    // Cancelling may end a call, and gRPC tells its interceptor on the same thread.
    std::recursive_mutex mutex;  // all below
    std::condition_variable_any changed;
    std::set<Call*> calls;
    bool stopping = false;
    bool ended = false;
    std::string path;
    int port = -1;
    struct Seen {
        int bytes;
        Clock::time_point since;
    };
    std::map<std::uint64_t, Seen> seen;  // by cookie: sockets whose output does not move
    std::thread thread;

    void run();
    void end_stuck_connections(Clock::time_point now);
    // With the lock held.
    void make_room_to_send(Clock::time_point now);
    void make_room_for_reflection(Clock::time_point now);
};

class StallGuard::Call final : public grpc::experimental::Interceptor {
  public:
    Call(std::shared_ptr<State> state, ServerRpcInfo* info)
        : state_(std::move(state)), info_(info) {
        const std::lock_guard lock(state_->mutex);
        state_->calls.insert(this);
    }
    ~Call() override {
        leave();
        if (met_ && state_->open != nullptr) state_->open->end(caller_.connection);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    void Intercept(InterceptorBatchMethods* methods) override {
        const auto is = [&](InterceptionHookPoints point) {
            return methods->QueryInterceptionHookPoint(point);
        };
        if (is(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) meet();
        if (is(InterceptionHookPoints::PRE_SEND_MESSAGE) ||
            is(InterceptionHookPoints::PRE_SEND_STATUS)) {
            const std::lock_guard lock(state_->mutex);
            if (!sending_ && cancelled_ == Clock::time_point{}) {
                state_->make_room_to_send(Clock::now());
                sending_ = true;
            }
            since_ = Clock::now();
        } else if (is(InterceptionHookPoints::POST_SEND_MESSAGE)) {
            const std::lock_guard lock(state_->mutex);
            sending_ = false;
        } else if (is(InterceptionHookPoints::POST_RECV_CLOSE)) {
            leave();  // the call's context is going
        }
        methods->Proceed();
    }
    // With the state's lock held.
    void cancel_if_stuck(Clock::time_point now, Clock::duration patience) {
        if (sending_ && now - since_ >= patience) cancel(now);
    }
    void cancel(Clock::time_point now) {
        sending_ = false;
        cancelled_ = now;
        info_->server_context()->TryCancel();
    }
    [[nodiscard]] bool cancelled() const { return cancelled_ != Clock::time_point{}; }
    [[nodiscard]] bool sending() const { return sending_; }
    [[nodiscard]] bool reflects() const { return reflects_; }
    [[nodiscard]] Clock::time_point since() const { return since_; }
    [[nodiscard]] const std::string& connection() const { return caller_.connection; }
    [[nodiscard]] bool hangs(Clock::time_point now, Clock::duration time) const {
        return cancelled_ != Clock::time_point{} && now - cancelled_ >= time;
    }

  private:
    // Registers the call; gRPC's first callback for it.
    void meet() {
        caller_ = caller_of(*info_->server_context());
        const std::lock_guard lock(state_->mutex);
        met_ = true;
        since_ = Clock::now();
        reflects_ = std::string_view(info_->method()).starts_with("/grpc.reflection.");
        if (reflects_) state_->make_room_for_reflection(since_);
    }
    void leave() {
        const std::lock_guard lock(state_->mutex);
        state_->calls.erase(this);
        sending_ = false;
    }
    const std::shared_ptr<State> state_;
    ServerRpcInfo* const info_;
    Caller caller_;
    bool met_ = false;
    bool reflects_ = false;
    bool sending_ = false;  // since_ then
    Clock::time_point since_;
    Clock::time_point cancelled_{};
};

class StallGuard::Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
  public:
    explicit Factory(std::shared_ptr<State> state) : state_(std::move(state)) {}
    grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
        return new Call(state_, info);
    }

  private:
    const std::shared_ptr<State> state_;
};

// Cancels the oldest unsent call of the connection that has the most of them.
void StallGuard::State::make_room_to_send(Clock::time_point now) {
    const auto sending =
        std::count_if(calls.begin(), calls.end(), [](const Call* call) { return call->sending(); });
    if (static_cast<std::size_t>(sending) < kMostSending) return;
    std::map<std::string_view, std::size_t> connections;
    for (const Call* call : calls)
        if (call->sending()) ++connections[call->connection()];
    const auto most =
        std::max_element(connections.begin(), connections.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    Call* oldest = nullptr;
    for (Call* call : calls)
        if (call->sending() && call->connection() == most->first &&
            (oldest == nullptr || call->since() < oldest->since()))
            oldest = call;
    oldest->cancel(now);
}

void StallGuard::State::make_room_for_reflection(Clock::time_point now) {
    std::size_t count = 0;
    Call* oldest = nullptr;
    for (Call* call : calls) {
        if (!call->reflects() || call->cancelled()) continue;
        ++count;
        if (oldest == nullptr || call->since() < oldest->since()) oldest = call;
    }
    if (count > kMostReflections) oldest->cancel(now);
}

void StallGuard::State::run() {
    std::unique_lock lock(mutex);
    while (!ended) {
        changed.wait_for(lock, kLook);
        const auto now = Clock::now();
        const Clock::duration most = stopping ? Clock::duration(kLastWord) : patience;
        // A call that ends meanwhile leaves the set.
        const std::set<Call*> all = calls;
        for (Call* call : all)
            if (calls.contains(call)) call->cancel_if_stuck(now, most);
        const Clock::duration hung = stopping ? Clock::duration{} : Clock::duration(kHung);
        const bool any = std::any_of(calls.begin(), calls.end(),
                                     [&](const Call* call) { return call->hangs(now, hung); });
        if (any)
            end_stuck_connections(now);
        else
            seen.clear();
    }
}

void StallGuard::State::end_stuck_connections(Clock::time_point now) {
    const Clock::duration most = stopping ? Clock::duration(kLook / 2) : Clock::duration(kHung);
    std::map<std::uint64_t, Seen> still;
    for (const Stuck& socket : sockets_with_output(path, port)) {
        const auto before = seen.find(socket.cookie);
        if (before == seen.end() || before->second.bytes != socket.bytes)
            still[socket.cookie] = {socket.bytes, now};
        else if (now - before->second.since < most)
            still[socket.cookie] = before->second;
        else
            shut_socket(socket.fd, socket.cookie);
    }
    seen = std::move(still);
}

StallGuard::StallGuard(std::chrono::milliseconds patience, OpenCalls* open)
    : state_(std::make_shared<State>()) {
    state_->patience = patience;
    state_->open = open;
    state_->thread = std::thread([state = state_] { state->run(); });
}

StallGuard::~StallGuard() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->ended = true;
        state_->changed.notify_all();
    }
    state_->thread.join();
}

void StallGuard::add_to(grpc::ServerBuilder& builder) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> factories;
    factories.push_back(std::make_unique<Factory>(state_));
    builder.experimental().SetInterceptorCreators(std::move(factories));
}

void StallGuard::serves(const std::string& path, int port) {
    const std::lock_guard lock(state_->mutex);
    state_->path = path;
    state_->port = port;
}

void StallGuard::stop() {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->changed.notify_all();
}

}  // namespace dr::control
