// The store of desired state, which survives drd. It is an interface: a single DR uses SQLite
// (sqlite.h), and several DRs that share state may use another store.
//
// Objects are opaque bytes under (kind, id). The ids are drd's stable ids: never used twice.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/sqlite/error.h"

namespace dr::control {

enum class Kind : std::uint8_t { Pool, Policy, Subscriber };
inline constexpr std::size_t kKinds = 3;

struct Meta {
    std::int64_t revision = 0;  // of the last committed change
    std::uint32_t next_id = 1;  // the next stable id
    bool drain = false;
    std::uint32_t tunnel_capacity = 4'000'000;  // the data plane's, as last heard
    std::string
        synced_uuid;  // the incarnation of the data plane that this store last brought in sync
};

// One atomic commit.
struct Batch {
    struct Write {
        Kind kind;
        std::uint32_t id;
        std::optional<std::string> object;  // absent: delete
    };
    std::vector<Write> writes;
    // Secrets of subscribers, by their ids: store::Secrets. Deleting a subscriber deletes its
    // secrets.
    struct Secret {
        std::uint32_t id;
        std::string bytes;
    };
    std::vector<Secret> secrets;
    std::vector<std::uint32_t> freed;  // tunnel ids whose slots are free from now on
    std::vector<std::uint32_t> taken;  // tunnel ids whose slots were free before
    Meta meta;
};

// A consistent view of one moment, for reading beside a writer.
class Snapshot {
  public:
    using Visitor = std::function<bool(std::uint32_t id, std::string_view object)>;

    Snapshot() = default;
    Snapshot(const Snapshot&) = delete;
    Snapshot& operator=(const Snapshot&) = delete;
    virtual ~Snapshot() = default;
    // All objects of `kind` in the order of their ids, until `visit` returns false.
    void for_each(Kind kind, const Visitor& visit) { for_each_after(kind, 0, visit); }
    // Those with ids above `id`.
    virtual void for_each_after(Kind kind, std::uint32_t id, const Visitor& visit) = 0;
    // The secrets of the subscriber with this id, if it has any.
    virtual std::optional<std::string> secrets(std::uint32_t id) = 0;
};

class Store {
  public:
    Store() = default;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    virtual ~Store() = default;

    // As of the opening of the store, or of the last commit().
    [[nodiscard]] virtual const Meta& meta() const = 0;
    virtual std::vector<std::uint32_t> freed_tunnel_ids() = 0;
    // Durable when it returns. One thread at a time. Throws StoreError.
    virtual void commit(const Batch& batch) = 0;
    // Committed state; any thread. Throws StoreError.
    virtual std::optional<std::string> read(Kind kind, std::uint32_t id) = 0;
    // The secrets of the subscriber with this id, if it has any; committed state; any thread.
    virtual std::optional<std::string> read_secrets(std::uint32_t id) = 0;
    // Any thread. Throws StoreError.
    virtual std::unique_ptr<Snapshot> snapshot() = 0;
};

}  // namespace dr::control
