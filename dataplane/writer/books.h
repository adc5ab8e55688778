// What is installed, as drd said it: pools, policies and subscribers by id, who has which prefix,
// and the sums over all of it that State reports. Nothing here is read by workers.
//
// One thread: the writer.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/ip.h"
#include "dataplane/southbound/codec.h"
#include "dataplane/writer/changes.h"
#include "dataplane/writer/id_map.h"
#include "dataplane/writer/policy_shape.h"
#include "dataplane/writer/prefix_index.h"

namespace dr::southbound {

// A subscriber's record as it was received; null: none.
using RecordBody = std::unique_ptr<std::uint8_t[]>;

struct InstalledPool {
    PoolRecord record{};
    std::uint32_t mark{};
    [[nodiscard]] IpPrefix prefix() const {
        return {{record.family, record.address}, record.length};
    }
};

struct Policy {
    std::uint32_t id{};
    std::vector<std::uint8_t> body;
    PolicyShape shape;
    std::uint32_t subscribers{};  // that use it
    std::uint32_t mark{};
};

// By SubscriberIndex. A prefix belongs to the subscriber that Books::owner_of() names, a tunnel
// slot to the one in its row.
struct Subscriber {
    RecordBody body;  // null: the index is not in use
    const Policy* policy{};
    std::uint32_t mark{};
    // The lookup table had no room for a prefix: an equal record is applied again.
    bool incomplete{};

    [[nodiscard]] SubscriberView view() const { return view_of(body.get()); }
};

class Books final {
  public:
    using Pools = std::unordered_map<std::uint32_t, InstalledPool>;
    using Policies = std::unordered_map<std::uint32_t, std::unique_ptr<Policy>>;

    [[nodiscard]] const Pools& pools() const { return pools_; }
    // Some pool covers the prefix; some pool is the prefix.
    [[nodiscard]] bool in_pool(const IpPrefix& prefix) const;
    [[nodiscard]] bool is_pool(const IpPrefix& prefix) const;
    // Marks the pool, and installs it if there is none with this id. true: it is new.
    bool put_pool(const PoolRecord& record);
    // The pool is there.
    void erase_pool(std::uint32_t id);

    [[nodiscard]] const Policies& policies() const { return policies_; }
    // Null: there is none.
    [[nodiscard]] const Policy* policy(std::uint32_t id) const;
    // Installs or replaces a policy; the object of one that is replaced stays the same.
    const Policy& put_policy(std::uint32_t id, Bytes body, PolicyShape shape);
    void mark_policy(std::uint32_t id) { policies_.find(id)->second->mark = mark_; }
    // The policy is there, and no subscriber uses it.
    void erase_policy(std::uint32_t id);

    // How many there are.
    [[nodiscard]] std::uint32_t subscribers() const {
        return static_cast<std::uint32_t>(ids_.size());
    }
    // Indices are below this.
    [[nodiscard]] std::uint32_t indices() const {
        return static_cast<std::uint32_t>(subscribers_.size());
    }
    [[nodiscard]] const Subscriber& subscriber(std::uint32_t index) const {
        return subscribers_[index];
    }
    // 0: no such subscriber.
    [[nodiscard]] std::uint32_t index_of(std::uint32_t id) const { return ids_.find(id); }
    // Installs a subscriber at a free index, or replaces its record, and marks it. Its policy is
    // installed. Returns the record that was there.
    RecordBody put_subscriber(std::uint32_t index, const SubscriberView& view);
    void mark_subscriber(std::uint32_t index) { subscribers_[index].mark = mark_; }
    void set_incomplete(std::uint32_t index, bool incomplete) {
        subscribers_[index].incomplete = incomplete;
    }
    // The subscriber is there, and has disclaimed its prefixes.
    void erase_subscriber(std::uint32_t index);

    // The index of the subscriber that has the prefix; 0: nobody.
    [[nodiscard]] std::uint32_t owner_of(const IpPrefix& prefix) const;
    // The prefix is this subscriber's from now on, whosever it was.
    void claim(const IpPrefix& prefix, std::uint32_t index);
    // Nothing happens when the prefix is another subscriber's by now.
    void disclaim(const IpPrefix& prefix, std::uint32_t index);
    [[nodiscard]] std::uint32_t prefixes() const {
        return static_cast<std::uint32_t>(prefixes_.size());
    }
    // The pools, and the subscribers' prefixes outside all pools; goes through all subscribers. The
    // number grows when that changes.
    [[nodiscard]] std::vector<IpPrefix> steered() const;
    [[nodiscard]] std::uint64_t steered_generation() const { return steered_generation_; }

    // Mark and sweep: what is put from now on gets a new mark; what has an older one.
    void begin_marking() { ++mark_; }
    [[nodiscard]] Changes unmarked() const;

    // How many transactions were applied.
    [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
    void next_epoch() { ++epoch_; }
    // State::digest.
    [[nodiscard]] const std::array<std::uint64_t, 3>& digest() const { return digest_; }
    // Tunnels with keys.
    [[nodiscard]] std::uint32_t keyed_tunnels() const { return keyed_tunnels_; }
    // Bytes of the records, and of the indices over them.
    [[nodiscard]] std::uint64_t record_bytes() const;
    [[nodiscard]] std::uint64_t index_bytes() const { return ids_.bytes() + prefixes_.bytes(); }

  private:
    [[nodiscard]] bool holds(std::uint32_t index, const IpPrefix& prefix) const;
    void note_steering(const IpPrefix& prefix);
    void count(const SubscriberView& view);
    void discount(const SubscriberView& view);

    Pools pools_;
    Policies policies_;
    IdMap ids_;  // subscriber id -> index
    PrefixIndex prefixes_;
    std::vector<Subscriber> subscribers_ = std::vector<Subscriber>(1);  // index 0 is not used
    std::array<std::uint64_t, 3> digest_{};
    std::uint64_t body_bytes_{};  // of the subscribers' records
    std::uint32_t keyed_tunnels_{};
    std::uint64_t epoch_{};
    std::uint64_t steered_generation_{};
    std::uint32_t mark_ = 1;
};

}  // namespace dr::southbound
