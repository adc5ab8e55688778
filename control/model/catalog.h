// The desired state: the only way to change it and to read it.
//
// A change goes: judged against the index (in memory) -> given to the data plane, if that is there
// and in sync -> committed to the store -> published to watchers. The data plane comes before the
// store so that an object which it has no room for never becomes durable; if drd dies between the
// two, the next comparison of digests finds the surplus and sweeps it. When the data plane is away,
// the store's commit alone decides, and what the data plane then refuses in the replay is shown in
// the system's status.
//
// Threads: all public functions may be called from any thread. Changes are serialized by one
// writer lock; readers never wait for the data plane.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <variant>
#include <vector>

#include "control/model/failure.h"
#include "control/model/index.h"
#include "control/model/installer.h"
#include "control/model/tunnel_ids.h"
#include "control/store/store.h"
#include "dr/store/secrets.pb.h"

namespace dr::control {

struct CheckedSubscriber;

using Object = std::variant<v1::Pool, v1::Policy, v1::Subscriber>;  // in the order of Kind

struct Request {
    enum class Mode { Create, Update, Apply, Delete };
    Mode mode = Mode::Apply;
    Object object;  // Delete: name, and revision if it is to be checked
    enum class Keys {
        Keep,
        Rotate,  // a subscriber's tunnels get new keys, the present ones stay valid
        Revoke,  // its tunnels with keys get new ids and keys, no certificate is good any more
    };
    Keys keys = Keys::Keep;
};

struct Result {
    enum class Outcome { Refused, Created, Updated, Unchanged, Deleted };
    Outcome outcome = Outcome::Refused;
    Failure failure;                       // Refused
    std::shared_ptr<const Object> object;  // as stored (Deleted: as it was); null when Refused
    std::vector<Violation> warnings = {};  // accepted, and probably not meant
};

struct CommittedChange {
    bool deleted = false;
    std::shared_ptr<const Object> object;
    std::shared_ptr<const Object> before = nullptr;  // null: it is new
};

class Catalog {
  public:
    // Loads everything from the store. Throws StoreError, also when an object cannot be read.
    Catalog(Store& store, TunnelIds::Clock::duration quarantine = TunnelIds::kQuarantine);

    // The data plane; before the first change. It outlives the catalog's last change.
    void set_installer(Installer& installer) { installer_ = &installer; }
    // Addresses that no site's prefix may hold, each with a description ("this DR's signalling");
    // before the first change.
    using Reserved = std::vector<std::pair<IpAddress, std::string>>;
    void set_reserved(Reserved reserved) { reserved_ = std::move(reserved); }
    // Finds an end of a tunnel that liveness has learned inside a prefix, and its subscriber's id;
    // before the first change. Called with the catalog's locks held.
    using Learned =
        std::function<std::optional<std::pair<IpAddress, std::uint32_t>>(const IpPrefix& prefix)>;
    void set_learned(Learned learned) { learned_ = std::move(learned); }
    // Sources of warnings; before the first change. Called with the catalog's locks held. An absent
    // one gives no warnings.
    struct Surroundings {
        std::function<bool(const IpAddress& address)> has_address;  // whether this machine has it
        std::function<bool(std::uint32_t tunnel_id)> is_up;         // by keepalives
    };
    void set_surroundings(Surroundings surroundings) { surroundings_ = std::move(surroundings); }
    // Called after each commit, in its order, with the writer lock held: it must not call back.
    using Listener = std::function<void(const std::vector<CommittedChange>&)>;
    void set_listener(Listener listener) { listener_ = std::move(listener); }

    // Applies the requests in order, each by itself; with `atomic` all or none (then a refusal
    // leaves the other results Refused with Code::Aborted). One commit of the store and, as long as
    // nothing is refused, one transaction of the data plane. An atomic set is judged by its result,
    // so subscribers may exchange prefixes in it. It is at most one transaction of the data plane
    // (65,536 objects, 16 MiB).
    std::vector<Result> apply(const std::vector<Request>& requests, bool atomic = false);
    Result apply_one(const Request& request);

    std::optional<Object> get(Kind kind, const std::string& name);
    std::optional<v1::Subscriber> subscriber_by_id(std::uint32_t id);
    // The subscriber whose tunnel has the slot of `tunnel_id`.
    std::optional<v1::Subscriber> subscriber_by_tunnel(std::uint32_t tunnel_id);
    // The id of the one subscriber that has a tunnel with this end; 0: none, or several tunnels do.
    std::uint32_t subscriber_with_end(const IpAddress& address);

    // A consistent view of what the subscriber's UR needs.
    struct Site {
        v1::Subscriber subscriber;
        v1::Policy policy;
        store::Secrets secrets;
    };
    std::optional<Site> site(const std::string& subscriber);
    // Only the subscriber's secrets. nullopt: there is no such subscriber.
    std::optional<store::Secrets> secrets(const std::string& subscriber);
    // New keys for the tunnels of a subscriber that have any.
    Result rotate_keys(const std::string& subscriber);
    // Withdraws everything that the subscriber's UR was given: its certificates are refused, and
    // its tunnels with keys get new ids and keys, which only a new attachment contains.
    Result revoke(const std::string& subscriber);
    // Changes the certificates in the subscriber's secrets; its tunnels' keys must stay as they
    // are. NotFound, Unavailable.
    Failure change_credentials(const std::string& subscriber,
                               const std::function<void(store::Secrets&)>& change);

    // Empty where there is nothing.
    store::Secrets secrets_of(std::uint32_t subscriber_id);

    struct Query {
        // Page::next or Page::at of an earlier page of the same query; empty: from the beginning.
        std::string token;
        std::string name_prefix;
        std::string policy;              // subscribers only
        std::string line;                // subscribers only: skips policies without a tunnel on it
        std::optional<IpPrefix> within;  // subscribers only: owning something that overlaps it
        std::uint32_t limit = 1000;      // objects
    };
    struct Page {
        std::vector<Object> objects;  // by name; with Query::within by address
        std::vector<std::string> at;  // parallel: the token of a page that begins with this one
        std::string next;             // of the next page; empty: this was the last
        std::uint64_t visited = 0;    // entries of the index looked at
        std::uint64_t read = 0;       // objects read from the store
    };
    // The work of one page is bounded for every query and every size of the catalog: entries
    // visited, objects read. A page that reaches the bound ends early, perhaps without any object,
    // but with a token.
    static constexpr std::uint64_t kMaxVisited = 100'000;
    static constexpr std::uint64_t kMaxRead = 10'000;
    // A page also ends early when its objects take more than 3 MiB, so that it fits gRPC's default
    // message size. Throws std::invalid_argument if the token is malformed.
    Page list(Kind kind, const Query& query);

    Failure set_drain(bool drain);
    [[nodiscard]] bool drain();
    [[nodiscard]] std::int64_t revision() const { return revision_.load(); }
    [[nodiscard]] std::array<std::uint64_t, southbound::kTables> rows();

    // For the replay: calls `prepare` with the writer lock held, so that every change is either in
    // the snapshot or given to install() afterwards.
    struct View {
        std::int64_t revision;
        std::array<std::uint64_t, kKinds> digest;
        std::array<std::uint64_t, southbound::kTables> rows;
        std::string synced_uuid;
        std::uint32_t next_id;
        bool drain;
        std::uint32_t tunnel_capacity;
        std::map<std::string, std::uint32_t> policies;  // name -> id
        std::unique_ptr<Snapshot> snapshot;
    };
    View view(const std::function<void()>& prepare);
    // The committed state, and the revision of its last change.
    std::unique_ptr<Snapshot> snapshot(std::int64_t& revision);
    // Remembers how many tunnels the data plane takes: named and allocated slots stay below it.
    void note_tunnel_capacity(std::uint32_t tunnels);
    // Remembers that the data plane's incarnation `uuid` is in sync with this store.
    void mark_synced(const std::string& uuid);

  private:
    struct Change;
    struct Plan;

    void load();
    Failure plan(const Request& request, Plan& plan, Result& result);
    Failure plan_pool(const Request& request, Plan& plan, Result& result);
    Failure plan_policy(const Request& request, Plan& plan, Result& result);
    Failure plan_subscriber(const Request& request, Plan& plan, Result& result);
    Failure plan_delete(const Object& object, Plan& plan, Result& result);
    void judge_references(const v1::Subscriber& s, const CheckedSubscriber& checked,
                          std::uint32_t id, Findings& findings);
    [[nodiscard]] static std::vector<Violation> warnings_of(const v1::Policy& policy);
    [[nodiscard]] std::vector<Violation> warnings_of(const v1::Subscriber& s,
                                                     const CheckedSubscriber& checked,
                                                     const v1::Subscriber* before) const;
    Result change_keys(const std::string& subscriber, Request::Keys keys);
    static void renew_ids(v1::Subscriber& s);
    void keep_numbers(v1::Subscriber& s, const v1::Subscriber& before);
    void judge_pool_change(const PoolEntry* before, const v1::Pool& pool, const IpPrefix& prefix,
                           Findings& findings);
    void judge_ends(const CheckedSubscriber& checked, std::uint32_t id,
                    const v1::Subscriber* before, Findings& findings);
    void judge_ids(const v1::Subscriber& s, std::uint32_t id, Findings& findings);
    store::Secrets secrets_before(const Change& change, const Plan& plan);
    bool assign_ids(v1::Subscriber& after, Change& change);
    void release_ids(const Change& change);
    Failure find_subscriber(const std::string& name, const Plan& plan,
                            std::shared_ptr<const Object>& found);
    std::string end_inside(const IpPrefix& prefix);
    std::string end_text(const Index::End& end);
    std::string name_of(std::uint32_t subscriber_id);

    void enter(Change change, Plan& plan);
    void undo(Plan& plan);
    void index_replace(const Change& change, bool forward);
    Installed install(const Plan& plan);
    Failure commit(Plan& plan);
    void plan_all(const std::vector<Request>& requests, std::vector<Result>& results, Plan& plan);
    std::vector<Record> lift_prefixes(const std::vector<Request>& requests);
    Record record_of(const v1::Subscriber& subscriber);
    static void fail_all(std::vector<Result>& results, const Failure& why);
    struct Found;
    Found find_by_name(Kind kind, const Query& query, Page& page);
    Found find_by_address(const Query& query, Page& page);
    bool read_into(Page& page, Kind kind, const Query& query, std::uint32_t id,
                   const std::string& token);
    void apply_batch(const std::vector<Request>& requests, std::vector<Result>& results);
    void apply_singly(const std::vector<Request>& requests, std::vector<Result>& results);
    void apply_atomic(const std::vector<Request>& requests, std::vector<Result>& results);

    Store& store_;
    Installer* installer_ = nullptr;
    Listener listener_;
    Reserved reserved_;
    Learned learned_;
    Surroundings surroundings_;

    std::mutex writer_;              // changes, in order; taken before index_mutex_
    std::shared_mutex index_mutex_;  // index_, ids_; held briefly
    Index index_;
    TunnelIds ids_;
    Meta meta_;  // as of the change in hand
    std::atomic<std::int64_t> revision_{0};
};

}  // namespace dr::control
