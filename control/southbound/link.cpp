// The thread that connects to the data plane and keeps it in step with the store.
#include "control/southbound/link.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/printable.h"
#include "control/southbound/conversation.h"
#include "control/southbound/replay.h"

namespace dr::control {
namespace {

namespace sb = southbound;
using namespace std::chrono_literals;

constexpr auto kInstallPatience = 2s;
constexpr auto kRefreshPatience = 1s;
constexpr auto kFirstBackOff = 25ms;
constexpr auto kMaxBackOff = 200ms;
constexpr auto kRefusedBackOff = 200ms;
constexpr auto kRefusedPatience = 30s;
constexpr auto kFirstRetry = 30s, kLastRetry = 600s, kRetryAfterChange = 5s;
constexpr auto kLookEvery = 10s;
// Changes that may wait for the end of a replay; beyond that it is cheaper to compare again.
constexpr std::size_t kMaxPendingBytes = 64U << 20;

bool ok(const sb::Result& result) {
    return result.status == static_cast<std::uint32_t>(sb::Status::Ok);
}

}  // namespace

Link::Link(Catalog& catalog, std::string socket_path)
    : catalog_(catalog),
      path_(std::move(socket_path)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    status_.detail = "not connected yet";
    drain_ = catalog_.drain();
}

Link::~Link() {
    stop();
}

void Link::start() {
    thread_ = std::thread([this] { run(); });
}

void Link::stop() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake();
    done_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Link::wake() {
    const std::uint64_t one = 1;
    // A full eventfd is readable, which is all that is wanted.
    [[maybe_unused]] const auto n = ::write(wake_.get(), &one, sizeof one);
}

bool Link::stopping() {
    const std::lock_guard lock(mutex_);
    return stop_;
}

Installed Link::install(const Transaction& transaction) {
    std::unique_lock lock(mutex_);
    if (status_.state == LinkState::Syncing) {
        pending_bytes_ += transaction.bytes().size();
        if (pending_bytes_ > kMaxPendingBytes)
            resync_ = true;
        else
            pending_.push_back(transaction);
        return {};
    }
    if (!serves() || stop_) {
        changed_ = true;
        wake();
        return {};
    }
    const auto job = std::make_shared<Job>();
    job->transaction = transaction;
    enqueue_and_wait(job, kInstallPatience, lock);
    return job->verdict;
}

void Link::enqueue_and_wait(const std::shared_ptr<Job>& job, std::chrono::milliseconds patience,
                            std::unique_lock<std::mutex>& lock) {
    jobs_.push_back(job);
    wake();
    if (!done_.wait_for(lock, patience, [&] { return job->done || stop_; })) job->abandoned = true;
}

void Link::resync() {
    const std::lock_guard lock(mutex_);
    resync_ = true;
    wake();
}

void Link::set_drain(bool drain) {
    std::unique_lock lock(mutex_);
    drain_ = drain;
    if (!serves() || stop_) return;
    const auto job = std::make_shared<Job>();
    job->kind = Job::Kind::Drain;
    job->drain = drain;
    enqueue_and_wait(job, kInstallPatience, lock);
}

LinkStatus Link::status(bool fresh) {
    std::unique_lock lock(mutex_);
    if (fresh && serves() && !stop_) {
        const auto job = std::make_shared<Job>();
        job->kind = Job::Kind::Refresh;
        enqueue_and_wait(job, kRefreshPatience, lock);
    }
    return status_;
}

std::shared_ptr<const CountersMap> Link::counters() {
    const std::lock_guard lock(mutex_);
    return counters_;
}

std::shared_ptr<const LiveMap> Link::live() {
    const std::lock_guard lock(mutex_);
    return live_;
}

std::shared_ptr<const DropsMap> Link::drops() {
    const std::lock_guard lock(mutex_);
    return drops_;
}

void Link::run() {
    std::chrono::milliseconds pause = kFirstBackOff;
    while (!stopping()) {
        const bool was_in_sync = session();
        pause = was_in_sync ? kFirstBackOff
                            : std::min<std::chrono::milliseconds>(pause * 2, kMaxBackOff);
        back_off(pause);
    }
    fail(LinkState::Absent, "drd is ending");
}

// Also releases all waiting callers: the next comparison finds their changes.
void Link::fail(LinkState state, const std::string& detail) {
    const std::lock_guard lock(mutex_);
    if (status_.state != state)
        std::fprintf(stderr, "drd: data plane %s: %s\n", path_.c_str(), printable(detail).c_str());
    status_.state = state;
    status_.known = false;
    status_.detail = detail;
    status_.left_out.clear();
    status_.around_own.clear();
    for (const auto& job : jobs_) job->done = true;
    jobs_.clear();
    pending_.clear();
    pending_bytes_ = 0;
    counters_.reset();
    live_.reset();
    drops_.reset();
    done_.notify_all();
}

void Link::back_off(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    done_.wait_for(lock, time, [&] { return stop_; });
}

// Serves one connection until it ends. True: it had reached IN_SYNC.
bool Link::session() {
    bool in_sync = false;
    try {
        Channel channel(path_, wake_.get(), [this] { return stopping(); });
        try {
            open(channel);
            reconcile(channel);
            in_sync = true;
            serve(channel);
        } catch (const RefusalError& e) {
            fail(LinkState::Refused, e.what());
            hold_refused(channel);
        }
    } catch (const ChannelError& e) {
        fail(LinkState::Absent, e.what());
    } catch (const StoreError& e) {
        fail(LinkState::Absent, e.what());
    }
    return in_sync;
}

void Link::open(Channel& channel) {
    const sb::State state = greet(channel);
    {
        const std::lock_guard lock(mutex_);
        status_.dataplane = state;
        status_.known = true;
    }
    auto counters = ask_counters(channel);
    auto live = ask_liveness(channel);
    std::string why;
    auto drops = ask_drops(channel, why);
    if (!drops) std::fprintf(stderr, "drd: warning: %s\n", printable(why).c_str());
    const std::lock_guard lock(mutex_);
    counters_ = std::move(counters);
    live_ = std::move(live);
    drops_ = std::move(drops);
}

void Link::reconcile(Channel& channel) {
    auto view = catalog_.view([this] {
        const std::lock_guard lock(mutex_);
        status_.state = LinkState::Syncing;
        status_.detail = "comparing and replaying";
        resync_ = false;
        changed_ = false;
        pending_.clear();
        pending_bytes_ = 0;
    });
    const sb::State state = status(false).dataplane;
    const auto same_rows = [&](Kind kind) {
        const auto k = static_cast<std::size_t>(kind);
        return state.rows[k] == view.rows[k] && state.digest[k] == view.digest[k];
    };
    const bool same = (state.flags & sb::kStateSynced) != 0 && same_rows(Kind::Pool) &&
                      same_rows(Kind::Policy) && same_rows(Kind::Subscriber);
    const std::string uuid = uuid_text(state.uuid);
    catalog_.note_tunnel_capacity(
        static_cast<std::uint32_t>(state.capacity[static_cast<std::size_t>(sb::Table::Tunnels)]));
    if (same) {
        set_left_out({});
    } else {
        Replay replay(channel, view, view.synced_uuid == uuid, next_transaction_);
        note_result(replay.run(), view.revision);
        set_left_out(replay.left_out());
    }
    view.snapshot.reset();
    {
        const std::lock_guard lock(mutex_);
        status_.installed_revision = view.revision;
    }
    catalog_.mark_synced(uuid);
    look_at_ = {};
    drain_pending(channel);
}

void Link::set_left_out(std::string text) {
    if (!text.empty() && text != left_out_)
        std::fprintf(stderr, "drd: %s\n", printable(text).c_str());
    tried_ = Clock::now();
    retry_pause_ = left_out_.empty() || text.empty()
                       ? std::chrono::seconds(kFirstRetry)
                       : std::min<std::chrono::seconds>(retry_pause_ * 2, kLastRetry);
    retry_at_ = tried_ + retry_pause_;
    left_out_ = std::move(text);
}

bool Link::serves() const {
    return status_.state == LinkState::InSync || status_.state == LinkState::Incomplete;
}

void Link::enter_service() {
    status_.state = left_out_.empty() ? LinkState::InSync : LinkState::Incomplete;
    status_.left_out = left_out_;
    status_.detail = left_out_;
    if (!status_.around_own.empty())
        status_.detail += (left_out_.empty() ? "" : "; ") + status_.around_own;
}

// Sends the changes that were committed during the replay. Sets IN_SYNC under the lock under which
// it finds no more changes.
void Link::drain_pending(Channel& channel) {
    for (;;) {
        std::unique_lock lock(mutex_);
        if (resync_) throw ChannelError("too many changes during the replay; comparing again");
        const bool drained = ((status_.dataplane.flags & sb::kStateDrain) != 0) == drain_;
        const bool drain = drain_;
        if (pending_.empty() && drained) {
            return enter_service();
        }
        if (!drained) {
            lock.unlock();
            send_drain(channel, drain);
            continue;
        }
        const Transaction next = std::move(pending_.front());
        pending_.pop_front();
        lock.unlock();
        const auto result = transact(channel, next);
        // The store has the change already, so it is replayed: then the data plane takes it, or it
        // is named as left out.
        if (result.status == static_cast<std::uint32_t>(sb::Status::BadReference))
            throw ChannelError("comparing again, after a refused change: " + text_of(result));
        if (!ok(result)) throw RefusalError("the data plane refuses a change: " + text_of(result));
        note_result(result, next.revision);
    }
}

sb::Result Link::transact(Channel& channel, const Transaction& transaction) {
    const std::uint64_t id = next_transaction_++;
    send_transaction(channel, id, transaction);
    const sb::Result result = receive_result(channel, sb::Type::TxnResult);
    if (result.id != id)
        throw ChannelError(
            fmt::format("data plane: an answer to transaction {} where {} is due", result.id, id));
    return result;
}

void Link::note_result(const sb::Result& result, std::int64_t revision) {
    const std::lock_guard lock(mutex_);
    status_.dataplane.epoch = result.epoch;
    status_.dataplane.rows = result.rows;
    status_.installed_revision = std::max(status_.installed_revision, revision);
}

void Link::serve(Channel& channel) {
    for (;;) {
        std::unique_lock lock(mutex_);
        if (stop_) throw ChannelError("drd is ending");
        if (resync_) throw ChannelError("comparing again");
        const auto job = jobs_.empty() ? nullptr : jobs_.front();
        if (job == nullptr && !left_out_.empty() && Clock::now() >= retry_at_) {
            // From here on changes wait for the end of the replay.
            status_.state = LinkState::Syncing;
            lock.unlock();
            channel.send(sb::Type::GetState);
            update_state(channel);
            reconcile(channel);
            continue;
        }
        lock.unlock();
        if (job == nullptr && Clock::now() >= look_at_) {
            channel.send(sb::Type::GetState);
            update_state(channel);
        }
        if (job == nullptr) {
            std::uint64_t drained = 0;
            // Work that is queued from here on makes the descriptor readable again.
            if (channel.wait(1000ms)) {
                const Message message = channel.receive();
                if (message.type != sb::Type::Event)
                    throw ChannelError("data plane: a message that nobody asked for");
            }
            [[maybe_unused]] const auto n = ::read(wake_.get(), &drained, sizeof drained);
            continue;
        }
        do_job(channel, *job);
        lock.lock();
        job->done = true;
        std::erase(jobs_, job);
        done_.notify_all();
    }
}

void Link::do_job(Channel& channel, Job& job) {
    if (job.kind == Job::Kind::Install) {
        do_install(channel, job);
    } else if (job.kind == Job::Kind::Drain) {
        send_drain(channel, job.drain);
    } else {
        channel.send(sb::Type::GetState);
        update_state(channel);
    }
}

void Link::do_install(Channel& channel, Job& job) {
    const sb::Result result = transact(channel, job.transaction);
    if (ok(result)) note_result(result, job.transaction.revision);
    if (ok(result) && !left_out_.empty()) {
        const auto desired = catalog_.rows();
        if (std::equal(desired.begin(), desired.begin() + kKinds, result.rows.begin()))
            set_left_out({});
        retry_at_ = std::min(retry_at_, std::max(Clock::now(), tried_ + kRetryAfterChange));
    }
    const std::lock_guard lock(mutex_);
    enter_service();
    if (!ok(result) && job.abandoned) resync_ = true;
    job.verdict.result = ok(result) ? Installed::Result::Accepted : Installed::Result::Refused;
    job.verdict.full = result.status == static_cast<std::uint32_t>(sb::Status::Full);
    job.verdict.record = result.record;
    job.verdict.text = text_of(result);
}

void Link::send_drain(Channel& channel, bool drain) {
    channel.send(sb::Type::SetDrain, sb::SetDrain{drain ? 1U : 0U, 0});
    update_state(channel);
}

void Link::update_state(Channel& channel) {
    const sb::State state = receive_state(channel);
    look_at_ = Clock::now() + kLookEvery;
    std::string around;
    if (state.around_own != 0) {
        const auto subscriber = catalog_.subscriber_by_id(state.around_own);
        around = fmt::format(
            "subscriber/{} has a prefix around an address, a network or a next hop of this router",
            subscriber ? subscriber->name() : std::to_string(state.around_own));
    }
    const std::lock_guard lock(mutex_);
    if (!around.empty() && around != status_.around_own)
        std::fprintf(stderr, "drd: %s\n", printable(around).c_str());
    status_.dataplane = state;
    status_.around_own = std::move(around);
    if (serves()) enter_service();
}

// Keeps the connection, so that a restart of the data plane is seen at once.
void Link::hold_refused(Channel& channel) {
    back_off(kRefusedBackOff);
    const auto deadline = std::chrono::steady_clock::now() + kRefusedPatience;
    while (std::chrono::steady_clock::now() < deadline) {
        {
            const std::lock_guard lock(mutex_);
            if (stop_ || changed_ || resync_) return;
        }
        std::uint64_t drained = 0;
        if (channel.wait(200ms)) return;
        [[maybe_unused]] const auto n = ::read(wake_.get(), &drained, sizeof drained);
    }
}

}  // namespace dr::control
