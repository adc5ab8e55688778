// Southbound records and transactions, written the way a test reads.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/southbound/codec.h"
#include "dataplane/southbound/transaction.h"

namespace dr::southbound::test {

using Body = std::vector<std::uint8_t>;

struct TunnelSpec {
    std::string line;
    std::uint32_t id;
    std::string remote = "198.51.100.7";
    std::string local = "192.0.2.1";
    Encapsulation encapsulation = Encapsulation::GreUdp;
    std::uint16_t remote_port = 0;
    std::uint16_t mtu = 1400;
};
struct SubscriberSpec {
    std::uint32_t id;
    std::vector<std::string> prefixes;
    std::vector<TunnelSpec> tunnels;
    std::uint32_t policy = 1;
    std::uint32_t seed = 7;
};
using TierSpec = std::vector<std::pair<std::string, std::uint8_t>>;  // line, weight
struct PolicySpec {
    std::uint32_t id;
    std::vector<std::vector<TierSpec>> classes;
    // In keepalives. Lines without one here are numbered in order of first appearance.
    std::map<std::string, std::uint8_t> numbers = {};
    std::map<std::size_t, ClassRecord> limits = {};  // by class
};
struct PoolSpec {
    std::uint32_t id;
    std::string prefix;
    bool announce = true;
};

template <typename T>
void append(Body* body, const T& value) {
    const std::size_t end = body->size();
    body->resize(end + sizeof value);
    std::memcpy(body->data() + end, &value, sizeof value);
}

inline std::array<char, 32> line_name(const std::string& name) {
    std::array<char, 32> field{};
    name.copy(field.data(), field.size());
    return field;
}

inline IpPrefix prefix(const std::string& text) {
    return parse_prefix(text).value();
}
inline IpAddress address(const std::string& text) {
    return text.empty() ? IpAddress{} : parse_address(text).value();
}

inline TunnelRecord tunnel_record(const TunnelSpec& spec) {
    const IpAddress local = address(spec.local);
    return {spec.id,
            spec.encapsulation,
            local.family,
            spec.remote_port,
            spec.mtu,
            0,
            Profile::None,
            local.bytes,
            address(spec.remote).bytes,
            line_name(spec.line)};
}

inline Body encode(const SubscriberSpec& spec) {
    Body body;
    append(&body, SubscriberRecord{spec.id, spec.policy, spec.seed,
                                   static_cast<std::uint16_t>(spec.prefixes.size()),
                                   static_cast<std::uint16_t>(spec.tunnels.size())});
    for (const std::string& text : spec.prefixes) {
        const IpPrefix p = prefix(text);
        append(&body, PrefixRecord{p.address.family, p.length, 0, p.address.bytes});
    }
    for (const TunnelSpec& tunnel : spec.tunnels) append(&body, tunnel_record(tunnel));
    return body;
}

inline Body encode(const PolicySpec& spec) {
    Body body;
    Body lines;
    std::uint16_t count = 0;
    std::map<std::string, std::uint8_t> numbers = spec.numbers;
    for (std::size_t c = 0; c < spec.classes.size(); ++c) {
        for (std::size_t t = 0; t < spec.classes[c].size(); ++t) {
            for (const auto& [name, weight] : spec.classes[c][t]) {
                const auto next = static_cast<std::uint8_t>(numbers.size());
                append(&lines, LineRecord{line_name(name), static_cast<std::uint8_t>(c),
                                          static_cast<std::uint8_t>(t), weight,
                                          numbers.try_emplace(name, next).first->second});
                ++count;
            }
        }
    }
    const auto classes = static_cast<std::uint16_t>(spec.classes.size());
    append(&body, PolicyRecord{spec.id, count, 60, 0, classes});
    for (std::size_t c = 0; c < classes; ++c) {
        const auto limits = spec.limits.find(c);
        append(&body, limits == spec.limits.end() ? ClassRecord{} : limits->second);
    }
    body.insert(body.end(), lines.begin(), lines.end());
    return body;
}

inline Body encode(const PoolSpec& spec) {
    const IpPrefix p = prefix(spec.prefix);
    Body body;
    append(&body, PoolRecord{spec.id, p.address.family, p.length,
                             static_cast<std::uint8_t>(spec.announce ? 1 : 0), 0, p.address.bytes});
    return body;
}

// A policy of one class.
inline PolicySpec policy(std::uint32_t id, std::vector<TierSpec> tiers) {
    return {id, {std::move(tiers)}, {}, {}};
}

class Txn final {
  public:
    Txn& add(Type type, const Body& body) {
        transaction_.add(type, body);
        return *this;
    }
    Txn& put(const SubscriberSpec& spec) { return add(Type::UpsertSubscriber, encode(spec)); }
    Txn& put(const PolicySpec& spec) { return add(Type::UpsertPolicy, encode(spec)); }
    Txn& put(const PoolSpec& spec) { return add(Type::UpsertPool, encode(spec)); }
    Txn& drop_subscriber(std::uint32_t id) { return drop(Type::DeleteSubscriber, id); }
    Txn& drop_policy(std::uint32_t id) { return drop(Type::DeletePolicy, id); }
    Txn& drop_pool(std::uint32_t id) { return drop(Type::DeletePool, id); }

    // NOLINTNEXTLINE(google-explicit-constructor): a Txn stands for its transaction.
    operator const Transaction&() const { return transaction_; }

  private:
    Txn& drop(Type type, std::uint32_t id) {
        Body body;
        append(&body, DeleteRecord{id, 0});
        return add(type, body);
    }
    Transaction transaction_;
};

}  // namespace dr::southbound::test
