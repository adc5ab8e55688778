// Bounds-checked decoding of what a client sends. Nothing is trusted: a record is looked at only
// after its lengths, counts, enumerations, names and addresses were found in order.
//
// Pure functions, any thread. A view refers to the bytes it was decoded from.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/ip.h"
#include "dataplane/southbound/protocol.h"
#include "dataplane/southbound/transaction.h"

namespace dr::southbound {

inline constexpr std::uint16_t kMaxLossPermille = 999;
// Smallest and largest inner packet that a tunnel may be set to, bytes (IPv6 needs 1280).
inline constexpr std::uint16_t kMinTunnelMtu = 1280;
inline constexpr std::uint16_t kMaxTunnelMtu = 9000;

// A body of exactly one fixed-size struct. false: another length.
template <typename T>
[[nodiscard]] bool read_exact(Bytes body, T* out) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (body.size() != sizeof(T)) return false;
    std::memcpy(out, body.data(), sizeof(T));
    return true;
}

template <typename T>
[[nodiscard]] Bytes bytes_of(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(T)};
}

// Bytes up to the first zero.
template <std::size_t Size>
[[nodiscard]] std::string_view text_of(const std::array<char, Size>& field) {
    return {field.data(), strnlen(field.data(), Size)};
}

// Repeated structs at any alignment.
template <typename T>
class RecordList final {
  public:
    RecordList() = default;
    RecordList(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] T operator[](std::size_t i) const {
        T value;
        std::memcpy(&value, data_ + i * sizeof(T), sizeof(T));
        return value;
    }

  private:
    const std::uint8_t* data_{};
    std::size_t size_{};
};

struct PoolView {
    std::uint32_t id{};
    IpPrefix prefix;
    bool announce{};
    Bytes body;
};
struct PolicyView {
    std::uint32_t id{};
    RecordList<ClassRecord> classes;
    RecordList<LineRecord> lines;
    Bytes body;
};
struct SubscriberView {
    SubscriberRecord record{};
    RecordList<PrefixRecord> prefixes;
    RecordList<TunnelRecord> tunnels;
    RecordList<KeyRecord> keys;
    Bytes body;
    Bytes digested;  // the body without the keys
};

// Each: false, and `why` says what is wrong and what would be right.
[[nodiscard]] bool decode(Bytes body, PoolView* out, std::string* why);
[[nodiscard]] bool decode(Bytes body, PolicyView* out, std::string* why);
[[nodiscard]] bool decode(Bytes body, SubscriberView* out, std::string* why);
[[nodiscard]] bool decode(Bytes body, DeleteRecord* out, std::string* why);

// The view of a subscriber record that decode() has accepted before.
[[nodiscard]] SubscriberView view_of(const std::uint8_t* accepted);

[[nodiscard]] inline IpPrefix prefix_of(const PrefixRecord& record) {
    return {{record.family, record.address}, record.length};
}

// Whether the UR's end is to be learned from keepalives.
[[nodiscard]] inline bool is_learned(const TunnelRecord& record) {
    return record.remote == std::array<std::uint8_t, 16>{};
}

// What is wrong with a message header from a client; null: nothing.
[[nodiscard]] const char* header_fault(const Header& header);

}  // namespace dr::southbound
