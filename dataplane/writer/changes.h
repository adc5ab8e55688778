// A decoded transaction: its last word on each object that it names.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/southbound/codec.h"
#include "dataplane/southbound/transaction.h"
#include "dataplane/writer/outcome.h"
#include "dataplane/writer/policy_shape.h"

namespace dr::southbound {

// In each: `record` is the index within the transaction; no `upsert`: the object is deleted.
struct PoolChange {
    std::uint32_t id;
    std::uint32_t record;
    std::optional<PoolRecord> upsert;
};
struct PolicyChange {
    std::uint32_t id;
    std::uint32_t record;
    std::optional<PolicyView> upsert;
};
struct SubscriberChange {
    std::uint32_t id;
    std::uint32_t record;
    std::optional<SubscriberView> upsert;
    // The planner finds out:
    std::uint32_t index = 0;  // as installed; 0: not there
    bool same = false;        // nothing to do but to mark it
    std::uint16_t mask = 0;
    ClassMasks masks{};
};

// Each in ascending order of ids, each id once.
struct Changes {
    std::vector<PoolChange> pools;
    std::vector<PolicyChange> policies;
    std::vector<SubscriberChange> subscribers;
};

// Views in `changes` refer to the transaction. Malformed, with the record at fault: what a record
// may not be, whatever is installed.
[[nodiscard]] Outcome decode(const Transaction& transaction, Changes* changes);

}  // namespace dr::southbound
