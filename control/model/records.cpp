// Encodes objects as southbound records.
#include "control/model/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/ip.h"
#include "control/model/check.h"
#include "control/model/line_numbers.h"
#include "control/model/secrets.h"
#include "control/store/store.h"

namespace dr::control {
namespace {

namespace sb = southbound;

template <typename T>
void append(std::vector<std::uint8_t>& out, const T& value) {
    const std::size_t at = out.size();
    out.resize(at + sizeof(T));
    std::memcpy(out.data() + at, &value, sizeof(T));
}

template <std::size_t N>
void set_text(std::array<char, N>& out, std::string_view text) {
    std::copy_n(text.begin(), std::min(text.size(), N - 1), out.begin());
}

std::uint8_t byte(unsigned long value) {
    return static_cast<std::uint8_t>(value);
}

void set_key(std::array<std::uint8_t, kKeyBytes>& out, const std::string& key) {
    if (key.size() == out.size()) std::memcpy(out.data(), key.data(), out.size());
}

// Of an object that check() found good.
sb::Encapsulation encapsulation_of(v1::Encapsulation encapsulation) {
    switch (encapsulation) {
        case v1::GRE:
            return sb::Encapsulation::Gre;
        case v1::AUTO:
            return sb::Encapsulation::Automatic;
        default:
            return sb::Encapsulation::GreUdp;
    }
}

sb::Profile profile_of(v1::Profile profile) {
    switch (profile) {
        case v1::MOBILE:
            return sb::Profile::Mobile;
        case v1::SATELLITE:
            return sb::Profile::Satellite;
        case v1::METERED:
            return sb::Profile::Metered;
        default:
            return sb::Profile::Fixed;
    }
}

sb::TunnelRecord tunnel_record(const v1::Subscriber& s, const v1::Tunnel& tunnel) {
    sb::TunnelRecord r{};
    const IpAddress local = parse_address(tunnel.local()).value();
    r.id = tunnel.id();
    r.encapsulation = encapsulation_of(tunnel.encapsulation());
    r.family = local.family;
    r.remote_port = static_cast<std::uint16_t>(tunnel.has_remote_port() ? tunnel.remote_port() : 0);
    r.mtu = static_cast<std::uint16_t>(effective_mtu(tunnel));
    r.local = local.bytes;
    if (!tunnel.remote().empty()) r.remote = parse_address(tunnel.remote()).value().bytes;
    r.key_number = byte(tunnel.key_number());
    if (r.key_number != 0) r.profile = profile_of(effective_profile(s, tunnel));
    set_text(r.line, tunnel.line());
    return r;
}

IpPrefix canonical_prefix(const std::string& text) {
    std::string error;
    return parse_prefix(text, &error).value();
}

}  // namespace

std::uint32_t effective_mtu(const v1::Tunnel& tunnel) {
    if (tunnel.has_mtu()) return tunnel.mtu();
    const bool ipv6 = tunnel.local().find(':') != std::string::npos;
    return 1500 - tunnel_overhead(ipv6, tunnel.encapsulation());
}

Record pool_record(const v1::Pool& pool, std::uint32_t id) {
    const IpPrefix prefix = canonical_prefix(pool.prefix());
    sb::PoolRecord r{};
    r.id = id;
    r.family = prefix.address.family;
    r.length = prefix.length;
    r.announce = pool.announce() ? 1 : 0;
    r.address = prefix.address.bytes;
    std::vector<std::uint8_t> out;
    append(out, r);
    return out;
}

Record policy_record(const v1::Policy& policy, std::uint32_t id) {
    std::vector<std::uint8_t> out;
    sb::PolicyRecord head{};
    head.id = id;
    head.wait_to_restore = static_cast<std::uint16_t>(
        policy.has_wait_to_restore_s() ? policy.wait_to_restore_s() : kDefaultWaitToRestore);
    head.generation = static_cast<std::uint16_t>(policy.revision());
    head.classes = static_cast<std::uint16_t>(policy.classes_size());
    append(out, head);
    for (const auto& c : policy.classes()) {
        append(out, sb::ClassRecord{static_cast<std::uint16_t>(c.max_loss_permille()),
                                    static_cast<std::uint16_t>(c.max_rtt_ms()),
                                    static_cast<std::uint16_t>(c.max_jitter_ms()),
                                    byte(c.strict() ? 1 : 0), 0});
    }
    for (int c = 0; c < policy.classes_size(); ++c) {
        for (int t = 0; t < policy.classes(c).tiers_size(); ++t) {
            for (const auto& line : policy.classes(c).tiers(t).lines()) {
                sb::LineRecord r{};
                set_text(r.name, line.line());
                r.class_number = byte(static_cast<unsigned long>(c));
                r.tier = byte(static_cast<unsigned long>(t));
                r.weight = byte(std::max(1U, line.weight()));
                r.number = byte(line_number(policy, line.line()).value());
                append(out, r);
                ++head.lines;
            }
        }
    }
    std::memcpy(out.data(), &head, sizeof head);
    return out;
}

Record subscriber_record(const v1::Subscriber& s, std::uint32_t policy_id) {
    Record out;
    out.reserve(sizeof(sb::SubscriberRecord) +
                static_cast<std::size_t>(s.prefixes_size()) * sizeof(sb::PrefixRecord) +
                static_cast<std::size_t>(s.tunnels_size()) * sizeof(sb::TunnelRecord));
    append(out, sb::SubscriberRecord{s.id(), policy_id, s.hash_seed(),
                                     static_cast<std::uint16_t>(s.prefixes_size()),
                                     static_cast<std::uint16_t>(s.tunnels_size())});
    for (const auto& text : s.prefixes()) {
        const IpPrefix prefix = canonical_prefix(text);
        append(out,
               sb::PrefixRecord{prefix.address.family, prefix.length, 0, prefix.address.bytes});
    }
    for (const auto& tunnel : s.tunnels()) append(out, tunnel_record(s, tunnel));
    return out;
}

void append_keys(std::vector<std::uint8_t>& record, const v1::Subscriber& s,
                 const store::Secrets& secrets) {
    for (const auto& tunnel : s.tunnels()) {
        if (tunnel.key_number() == 0) continue;
        const auto* keys = find_keys(secrets, tunnel.id());
        if (keys == nullptr || keys->number() != tunnel.key_number() ||
            keys->key().size() != kKeyBytes)
            throw StoreError(
                fmt::format("store: subscriber \"{}\": the key {} of tunnel {} is lost", s.name(),
                            tunnel.key_number(), tunnel.id()));
        sb::KeyRecord r{};
        r.tunnel = tunnel.id();
        r.number = byte(keys->number());
        r.previous_number = byte(keys->previous_number());
        set_key(r.key, keys->key());
        set_key(r.previous, keys->previous());
        append(record, r);
    }
}

void Transaction::frame(sb::Type type, const void* body, std::size_t size) {
    append(bytes_,
           sb::Header{static_cast<std::uint32_t>(size), static_cast<std::uint16_t>(type), 0});
    const auto* from = static_cast<const std::uint8_t*>(body);
    bytes_.insert(bytes_.end(), from, from + size);
    ++records_;
}

void Transaction::upsert(sb::Type type, const std::vector<std::uint8_t>& body) {
    frame(type, body.data(), body.size());
}

void Transaction::erase(sb::Type type, std::uint32_t id) {
    const sb::DeleteRecord r{id, 0};
    frame(type, &r, sizeof r);
}

bool Transaction::fits(std::size_t size) const {
    // TxnBegin and TxnCommit are counted with the transaction.
    constexpr std::size_t kFrame = 64;
    return records_ < sb::kMaxTxnRecords &&
           bytes_.size() + size + sizeof(sb::Header) + kFrame <= sb::kMaxTxnBytes;
}

std::vector<std::uint8_t> Transaction::take(std::uint32_t at, sb::Type* type) {
    std::size_t offset = 0;
    sb::Header header{};
    for (std::uint32_t i = 0;; ++i) {
        std::memcpy(&header, bytes_.data() + offset, sizeof header);
        if (i == at) break;
        offset += sizeof header + header.length;
    }
    const auto from = bytes_.begin() + static_cast<std::ptrdiff_t>(offset);
    const auto body = from + static_cast<std::ptrdiff_t>(sizeof header);
    const auto end = body + static_cast<std::ptrdiff_t>(header.length);
    std::vector<std::uint8_t> taken(body, end);
    bytes_.erase(from, end);
    --records_;
    if (type != nullptr) *type = static_cast<sb::Type>(header.type);
    return taken;
}

}  // namespace dr::control
