// The records a client has sent since TxnBegin, as raw bytes, until they are committed or dropped.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "dataplane/southbound/protocol.h"

namespace dr::southbound {

using Bytes = std::span<const std::uint8_t>;

// Upsert and Delete messages: what a transaction is made of.
[[nodiscard]] constexpr bool is_record(Type type) {
    return type >= Type::UpsertPool && type <= Type::DeleteSubscriber;
}

class Transaction final {
  public:
    struct Item {
        Type type;
        std::uint32_t offset;
        std::uint32_t length;
    };

    // false: over kMaxTxnRecords or kMaxTxnBytes; nothing was added.
    bool add(Type type, Bytes body) {
        if (items_.size() >= kMaxTxnRecords) return false;
        if (bytes_.size() + body.size() > kMaxTxnBytes) return false;
        items_.push_back({type, static_cast<std::uint32_t>(bytes_.size()),
                          static_cast<std::uint32_t>(body.size())});
        bytes_.insert(bytes_.end(), body.begin(), body.end());
        return true;
    }
    // Keeps the memory for the next one.
    void clear() {
        items_.clear();
        bytes_.clear();
    }
    // Gives the memory back too.
    void release() { *this = Transaction{}; }

    [[nodiscard]] std::size_t size() const { return items_.size(); }
    [[nodiscard]] Type type(std::size_t i) const { return items_[i].type; }
    [[nodiscard]] Bytes body(std::size_t i) const {
        return Bytes(bytes_).subspan(items_[i].offset, items_[i].length);
    }

  private:
    std::vector<Item> items_;
    std::vector<std::uint8_t> bytes_;
};

}  // namespace dr::southbound
