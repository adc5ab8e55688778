// drd's end of the southbound socket: one thread that keeps the data plane in step with the store.
//
// For ever: connect, HELLO, map counters and liveness, compare digests, replay if they differ, then
// hand over each change as it is made. A failed connection is tried again after at most 200 ms.
//
//   ABSENT   no data plane behind the socket. Changes are committed to the store alone.
//   SYNCING  comparing or replaying. Changes are committed to the store and follow the replay.
//   IN_SYNC  all of the store is in the tables. A change waits for the data plane's verdict, for at
//            most 2 s; a later refusal leads to a new comparison.
//   INCOMPLETE  likewise, except for objects that the data plane did not take in the replay, which
//            `detail` names. They are tried again 5 s after a change of the store, and else after
//            30 s and then at growing intervals of at most 10 min.
//   REFUSED  the data plane does not take what the store holds (another version, no room, a sweep
//            that needs force); `detail` says why. Tried again when the store changes or the data
//            plane restarts, and every 30 s.
//
// Force. An operator's deletion carries kForce. A sweep at the end of a replay carries it only when
// this store has brought this very incarnation of the data plane in sync before
// (Meta::synced_uuid): then every difference is a change that was committed here. A wrong or an
// emptied store meets the data plane's guard instead, and forwarding goes on.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "control/model/catalog.h"
#include "control/model/installer.h"
#include "control/southbound/channel.h"
#include "control/telemetry/counters_map.h"
#include "control/telemetry/drops_map.h"
#include "control/telemetry/live_map.h"

namespace dr::control {

enum class LinkState { Absent, Syncing, InSync, Incomplete, Refused };

struct LinkStatus {
    LinkState state = LinkState::Absent;
    std::string detail;      // why it is not InSync; and what `left_out`, `around_own` say
    std::string left_out;    // what the last replay could not install
    std::string around_own;  // which subscriber has a prefix around something of the DR's own
    bool known = false;      // `dataplane` was received on this connection
    southbound::State dataplane{};  // as last reported
    std::int64_t installed_revision = 0;
};

class Link final : public Installer {
  public:
    Link(Catalog& catalog, std::string socket_path);
    ~Link() override;

    void start();
    // Ends the thread; what waits in install() returns. Idempotent.
    void stop();

    Installed install(const Transaction& transaction) override;
    void resync() override;
    void set_drain(bool drain) override;

    // `fresh`: asks the data plane first, for at most 1 s.
    LinkStatus status(bool fresh);
    // Null while the data plane is away.
    std::shared_ptr<const CountersMap> counters();
    // Likewise: states and events of keepalives.
    std::shared_ptr<const LiveMap> live();
    // Likewise: notes of dropped packets. Null also when the data plane's are of no use.
    std::shared_ptr<const DropsMap> drops();

  private:
    struct Job {
        enum class Kind { Install, Drain, Refresh } kind = Kind::Install;
        Transaction transaction;
        bool drain = false;
        bool done = false;
        bool abandoned = false;  // nobody waits for the verdict any more
        Installed verdict;
    };
    void run();
    bool session();
    void open(Channel& channel);
    void reconcile(Channel& channel);
    void drain_pending(Channel& channel);
    void serve(Channel& channel);
    void do_job(Channel& channel, Job& job);
    void do_install(Channel& channel, Job& job);
    southbound::Result transact(Channel& channel, const Transaction& transaction);
    void send_drain(Channel& channel, bool drain);
    void update_state(Channel& channel);
    void hold_refused(Channel& channel);
    void fail(LinkState state, const std::string& detail);
    void back_off(std::chrono::milliseconds time);
    void note_result(const southbound::Result& result, std::int64_t revision);
    void set_left_out(std::string text);
    [[nodiscard]] bool serves() const;  // with mutex_
    void enter_service();               // likewise
    void enqueue_and_wait(const std::shared_ptr<Job>& job, std::chrono::milliseconds patience,
                          std::unique_lock<std::mutex>& lock);
    void wake();
    bool stopping();

    Catalog& catalog_;
    std::string path_;
    FileDescriptor wake_;
    std::thread thread_;

    std::mutex mutex_;  // all below
    std::condition_variable done_;
    bool stop_ = false;
    bool resync_ = false;
    bool changed_ = false;  // the store changed while REFUSED
    LinkStatus status_;
    std::deque<std::shared_ptr<Job>> jobs_;  // IN_SYNC
    std::deque<Transaction> pending_;        // SYNCING: what the replay does not hold
    std::size_t pending_bytes_ = 0;
    bool drain_ = false;
    std::shared_ptr<const CountersMap> counters_;
    std::shared_ptr<const LiveMap> live_;
    std::shared_ptr<const DropsMap> drops_;
    using Clock = std::chrono::steady_clock;
    std::uint64_t next_transaction_ = 1;  // link thread only, as all below
    std::string left_out_;                // what the last replay could not install
    std::chrono::seconds retry_pause_{};
    Clock::time_point tried_, retry_at_;  // of what is left out
    Clock::time_point look_at_;           // when to ask the data plane for its state
};

}  // namespace dr::control
