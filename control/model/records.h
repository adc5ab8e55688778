// Desired objects as records of the southbound protocol (dataplane/southbound/protocol.h).
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "dataplane/southbound/protocol.h"
#include "dr/store/secrets.pb.h"
#include "dr/v1/resource.pb.h"

namespace dr::control {

// Bodies of UpsertPool, UpsertPolicy, UpsertSubscriber. The objects are in the canonical form that
// check.h produces and were accepted by the catalog; `id` is drd's stable id.
using Record = std::vector<std::uint8_t>;
Record pool_record(const v1::Pool& pool, std::uint32_t id);
Record policy_record(const v1::Policy& policy, std::uint32_t id);
Record subscriber_record(const v1::Subscriber& subscriber, std::uint32_t policy_id);
// The KeyRecords that end the record of a subscriber with keepalives; record_digest() does not
// cover them. Throws StoreError when a key is missing.
void append_keys(Record& record, const v1::Subscriber& subscriber, const store::Secrets& secrets);

// Reads a record of subscriber_record(), which outlives the view.
class SubscriberView {
  public:
    explicit SubscriberView(const Record& record)
        : record_(record), head_(at<southbound::SubscriberRecord>(0)) {}

    [[nodiscard]] std::uint32_t id() const { return head_.id; }
    [[nodiscard]] std::uint32_t policy() const { return head_.policy; }
    [[nodiscard]] std::size_t prefixes() const { return head_.prefixes; }
    [[nodiscard]] std::size_t tunnels() const { return head_.tunnels; }
    [[nodiscard]] southbound::PrefixRecord prefix(std::size_t i) const {
        return at<southbound::PrefixRecord>(sizeof head_ + i * sizeof(southbound::PrefixRecord));
    }
    [[nodiscard]] southbound::TunnelRecord tunnel(std::size_t i) const {
        return at<southbound::TunnelRecord>(sizeof head_ +
                                            prefixes() * sizeof(southbound::PrefixRecord) +
                                            i * sizeof(southbound::TunnelRecord));
    }

  private:
    template <typename T>
    [[nodiscard]] T at(std::size_t offset) const {
        T value;
        std::memcpy(&value, record_.data() + offset, sizeof value);
        return value;
    }

    const Record& record_;
    southbound::SubscriberRecord head_;
};

// The effective MTU of a tunnel: as configured, or the default for its encapsulation.
std::uint32_t effective_mtu(const v1::Tunnel& tunnel);

// One transaction of records, framed, without TxnBegin and TxnCommit.
class Transaction {
  public:
    std::int64_t revision = 0;  // the store's revision once it is committed
    bool force = false;         // kForce: an operator's explicit deletion

    void upsert(southbound::Type type, const std::vector<std::uint8_t>& body);
    void erase(southbound::Type type, std::uint32_t id);

    [[nodiscard]] std::uint32_t records() const { return records_; }
    [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return bytes_; }
    // Whether a further record of `size` bytes still fits the protocol's bounds.
    [[nodiscard]] bool fits(std::size_t size) const;
    // Removes record number `at` (below records()) and returns its body, and its type in `type`.
    std::vector<std::uint8_t> take(std::uint32_t at, southbound::Type* type = nullptr);

  private:
    void frame(southbound::Type type, const void* body, std::size_t size);

    std::vector<std::uint8_t> bytes_;
    std::uint32_t records_ = 0;
};

}  // namespace dr::control
