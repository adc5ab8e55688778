// What a record may say, checked byte by byte.
#include "dataplane/southbound/codec.h"

#include <algorithm>
#include <vector>

#include "dataplane/tables/types.h"

namespace dr::southbound {
namespace {

using Address = std::array<std::uint8_t, 16>;

bool fail(std::string* why, std::string text) {
    *why = std::move(text);
    return false;
}

std::string number(std::size_t n) {
    return std::to_string(n);
}

unsigned address_bits(std::uint8_t family) {
    return family == 4 ? 32U : 128U;
}

bool zero_from_bit(const Address& address, unsigned bit) {
    for (unsigned byte = bit / 8; byte < 16; ++byte) {
        const unsigned keep = byte == bit / 8 ? bit % 8 : 0;
        if ((address[byte] & (0xffU >> keep)) != 0) return false;
    }
    return true;
}

bool check_prefix(std::uint8_t family, std::uint8_t length, const Address& address,
                  std::string* why) {
    if (family != 4 && family != 6)
        return fail(why, "address family " + number(family) + ", must be 4 or 6");
    if (length > address_bits(family))
        return fail(
            why, "prefix length " + number(length) + ", at most " + number(address_bits(family)));
    if (!zero_from_bit(address, length))
        return fail(why, "bits behind the prefix length " + number(length) + " must be zero");
    return true;
}

// An address of one host: not unspecified, not multicast, not loopback.
bool check_endpoint(std::uint8_t family, const Address& address, const char* what,
                    std::string* why) {
    if (family == 4 && !zero_from_bit(address, 32))
        return fail(why, std::string(what) + " address: bytes 4 to 15 must be zero for IPv4");
    const bool unusable = family == 4 ? address[0] == 0 || address[0] == 127 || address[0] >= 224
                                      : address[0] == 0xff || (zero_from_bit(address, 0)) ||
                                            (std::all_of(address.begin(), address.end() - 1,
                                                         [](std::uint8_t b) { return b == 0; }) &&
                                             address[15] == 1);
    if (unusable)
        return fail(why, std::string(what) +
                             " address is unspecified, loopback or multicast, must be unicast");
    return true;
}

bool check_name(const std::array<char, 32>& name, std::string* why) {
    const std::size_t length = text_of(name).size();
    if (length == 0 || length > 31)
        return fail(why, "line name has " + number(length) + " bytes, must have 1 to 31");
    for (std::size_t i = 0; i < name.size(); ++i) {
        const bool printable = name[i] > ' ' && name[i] <= '~';
        if (i < length && !printable)
            return fail(why, "line name has an unprintable byte at " + number(i));
        if (i >= length && name[i] != '\0') return fail(why, "line name must be padded with zeros");
    }
    return true;
}

std::string quoted(const std::array<char, 32>& name) {
    std::string text(1, '"');
    text.append(text_of(name));
    return text.append(1, '"');
}

bool check_tunnel(const TunnelRecord& t, std::string* why) {
    if (!check_name(t.line, why)) return false;
    if (TunnelId{t.id}.slot() == 0) return fail(why, "tunnel id's low 24 bits are 0, must be 1 up");
    if (!is_encapsulation(t.encapsulation))
        return fail(why, "encapsulation " + number(static_cast<std::uint8_t>(t.encapsulation)) +
                             ", must be 1 (GRE), 2 (GRE-in-UDP) or 3 (automatic)");
    if (t.family != 4 && t.family != 6)
        return fail(why, "outer address family " + number(t.family) + ", must be 4 or 6");
    if (!has_ports(t.encapsulation) && t.remote_port != 0)
        return fail(why, "remote port with GRE, must be 0");
    if (t.mtu < kMinTunnelMtu || t.mtu > kMaxTunnelMtu)
        return fail(why, "mtu " + number(t.mtu) + ", must be " + number(kMinTunnelMtu) + " to " +
                             number(kMaxTunnelMtu));
    if ((t.key_number == 0) != (t.profile == Profile::None) || t.profile > kLastProfile)
        return fail(why, "profile " + number(static_cast<std::uint8_t>(t.profile)) +
                             ", must be 1 to " + number(static_cast<std::uint8_t>(kLastProfile)) +
                             " with a key, 0 without");
    if (!check_endpoint(t.family, t.local, "local", why)) return false;
    if (!is_learned(t)) return check_endpoint(t.family, t.remote, "remote", why);
    if (t.key_number == 0) return fail(why, "no remote address and no key, must have one of them");
    return true;
}

// The keys are those of the tunnels that have a key number, in their order.
bool check_keys(const SubscriberView& subscriber, std::string* why) {
    constexpr std::array<std::uint8_t, 32> kZero{};
    std::size_t k = 0;
    for (std::size_t i = 0; i < subscriber.tunnels.size(); ++i) {
        const TunnelRecord tunnel = subscriber.tunnels[i];
        if (tunnel.key_number == 0) continue;
        const KeyRecord key = subscriber.keys[k];
        const std::string who = "key " + number(k) + ": ";
        ++k;
        if (key.tunnel != tunnel.id || key.number != tunnel.key_number)
            return fail(why, who + "is number " + number(key.number) + " of tunnel " +
                                 number(key.tunnel) + ", must be number " +
                                 number(tunnel.key_number) + " of tunnel " + number(tunnel.id));
        if (key.key == kZero) return fail(why, who + "is zero, must be random");
        if ((key.previous_number == 0) != (key.previous == kZero) ||
            key.previous_number == key.number)
            return fail(why, who + "previous key and previous number do not belong together");
        if (key.reserved != 0) return fail(why, who + "reserved field must be 0");
    }
    return true;
}

// Class and tier numbers ascend from 0 without gaps; no line twice in a tier.
bool check_line_order(const PolicyView& policy, std::string* why) {
    unsigned expected_class = 0;
    unsigned expected_tier = 0;
    std::size_t tier_begin = 0;
    for (std::size_t i = 0; i < policy.lines.size(); ++i) {
        const LineRecord line = policy.lines[i];
        const bool next_class = i > 0 && line.class_number == expected_class + 1 && line.tier == 0;
        const bool next_tier =
            i > 0 && line.class_number == expected_class && line.tier == expected_tier + 1;
        const bool same = line.class_number == expected_class && line.tier == expected_tier;
        if (!same && !next_class && !next_tier)
            return fail(why, "line " + number(i) + " is of class " + number(line.class_number) +
                                 " tier " + number(line.tier) +
                                 "; classes and tiers must ascend from 0 without gaps");
        if (!same) tier_begin = i;
        expected_class = line.class_number;
        expected_tier = line.tier;
        for (std::size_t j = tier_begin; j < i; ++j) {
            if (policy.lines[j].name == line.name)
                return fail(why, "line " + quoted(line.name) + " stands twice in one tier");
        }
    }
    return true;
}

bool check_limits(const PolicyView& policy, std::string* why) {
    for (std::size_t c = 0; c < policy.classes.size(); ++c) {
        const ClassRecord record = policy.classes[c];
        const std::string who = "class " + number(c) + ": ";
        if (record.max_loss_permille > kMaxLossPermille)
            return fail(why, who + "loss limit " + number(record.max_loss_permille) + ", at most " +
                                 number(kMaxLossPermille) + " of a thousand");
        if (record.strict > 1) return fail(why, who + "strict must be 0 or 1");
        if (record.reserved != 0) return fail(why, who + "reserved field must be 0");
    }
    return true;
}

// One number for each name, and one name for each number.
bool check_line_numbers(const PolicyView& policy, std::string* why) {
    std::array<LineRecord, kMaxLines> of_number{};
    for (std::size_t i = 0; i < policy.lines.size(); ++i) {
        const LineRecord line = policy.lines[i];
        if (line.number >= kMaxLines)
            return fail(why, "line " + quoted(line.name) + " has number " + number(line.number) +
                                 ", at most " + number(kMaxLines - 1));
        LineRecord& first = of_number[line.number];
        if (first.name[0] == '\0') first = line;
        if (first.name != line.name)
            return fail(why, "lines " + quoted(first.name) + " and " + quoted(line.name) +
                                 " have the same number, " + number(line.number));
        for (const LineRecord& other : of_number) {
            if (other.name == line.name && other.number != line.number)
                return fail(why, "line " + quoted(line.name) + " has the numbers " +
                                     number(other.number) + " and " + number(line.number));
        }
    }
    return true;
}

bool check_lines(const PolicyView& policy, std::string* why) {
    std::vector<std::array<char, 32>> names;
    for (std::size_t i = 0; i < policy.lines.size(); ++i) {
        const LineRecord line = policy.lines[i];
        if (!check_name(line.name, why)) return false;
        if (line.class_number >= kMaxClasses)
            return fail(
                why, "class " + number(line.class_number) + ", at most " + number(kMaxClasses - 1));
        if (line.weight == 0)
            return fail(why, "weight of line " + quoted(line.name) + " is 0, must be 1 to 255");
        if (std::find(names.begin(), names.end(), line.name) == names.end())
            names.push_back(line.name);
    }
    if (names.size() > kMaxLines)
        return fail(
            why, number(names.size()) + " line names, a policy has at most " + number(kMaxLines));
    return check_line_numbers(policy, why) && check_line_order(policy, why);
}

bool check_prefixes(const SubscriberView& subscriber, std::string* why) {
    const auto& prefixes = subscriber.prefixes;
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
        const PrefixRecord p = prefixes[i];
        std::string reason;
        if (!check_prefix(p.family, p.length, p.address, &reason))
            return fail(why, "prefix " + number(i) + ": " + reason);
        if (p.reserved != 0) return fail(why, "prefix " + number(i) + ": reserved field must be 0");
        for (std::size_t j = 0; j < i; ++j) {
            if (prefix_of(prefixes[j]) == prefix_of(p))
                return fail(why, "prefix " + to_string(prefix_of(p)) + " stands twice");
        }
    }
    return true;
}

bool check_tunnels(const SubscriberView& subscriber, std::string* why) {
    const auto& tunnels = subscriber.tunnels;
    for (std::size_t i = 0; i < tunnels.size(); ++i) {
        const TunnelRecord t = tunnels[i];
        std::string reason;
        if (!check_tunnel(t, &reason)) return fail(why, "tunnel " + number(i) + ": " + reason);
        for (std::size_t j = 0; j < i; ++j) {
            const TunnelRecord other = tunnels[j];
            if (other.line == t.line)
                return fail(why, "two tunnels on line " + quoted(t.line) + ", at most one");
            if (TunnelId{other.id}.slot() == TunnelId{t.id}.slot())
                return fail(why, "two tunnels with index " + number(TunnelId{t.id}.slot()));
        }
    }
    return true;
}

std::size_t keys_of(const RecordList<TunnelRecord>& tunnels) {
    std::size_t keys = 0;
    for (std::size_t i = 0; i < tunnels.size(); ++i) keys += tunnels[i].key_number != 0 ? 1U : 0U;
    return keys;
}

// Of a body that has all its tunnels.
std::size_t keys_of(const std::uint8_t* body) {
    SubscriberRecord record;
    std::memcpy(&record, body, sizeof record);
    const std::uint8_t* tunnels = body + sizeof record + record.prefixes * sizeof(PrefixRecord);
    return keys_of(RecordList<TunnelRecord>(tunnels, record.tunnels));
}

}  // namespace

bool decode(Bytes body, PoolView* out, std::string* why) {
    PoolRecord record;
    if (!read_exact(body, &record))
        return fail(why, "pool record of " + number(body.size()) + " bytes, must be " +
                             number(sizeof record));
    if (record.id == 0) return fail(why, "pool id is 0");
    if (record.announce > 1) return fail(why, "announce must be 0 or 1");
    if (record.reserved != 0) return fail(why, "reserved field must be 0");
    if (!check_prefix(record.family, record.length, record.address, why)) return false;
    *out = {
        record.id, {{record.family, record.address}, record.length}, record.announce != 0, body};
    return true;
}

bool decode(Bytes body, PolicyView* out, std::string* why) {
    PolicyRecord record;
    if (body.size() < sizeof record)
        return fail(why, "policy record of " + number(body.size()) + " bytes, at least " +
                             number(sizeof record));
    std::memcpy(&record, body.data(), sizeof record);
    if (record.id == 0) return fail(why, "policy id is 0");
    if (record.lines == 0 || record.lines > kMaxClasses * kMaxLines)
        return fail(
            why, number(record.lines) + " lines, must be 1 to " + number(kMaxClasses * kMaxLines));
    const std::size_t lines_at = sizeof record + record.classes * sizeof(ClassRecord);
    const std::size_t expected = lines_at + record.lines * sizeof(LineRecord);
    if (body.size() != expected)
        return fail(why, "policy record of " + number(body.size()) + " bytes, must be " +
                             number(expected) + " with " + number(record.classes) +
                             " classes and " + number(record.lines) + " lines");
    const PolicyView view{record.id,
                          {body.data() + sizeof record, record.classes},
                          {body.data() + lines_at, record.lines},
                          body};
    if (!check_limits(view, why) || !check_lines(view, why)) return false;
    const unsigned classes = view.lines[record.lines - 1U].class_number + 1U;
    if (record.classes != classes)
        return fail(why, number(record.classes) + " classes, must be " + number(classes) +
                             ", as the lines are of");
    *out = view;
    return true;
}

bool decode(Bytes body, SubscriberView* out, std::string* why) {
    SubscriberRecord record;
    if (body.size() < sizeof record)
        return fail(why, "subscriber record of " + number(body.size()) + " bytes, at least " +
                             number(sizeof record));
    std::memcpy(&record, body.data(), sizeof record);
    if (record.id == 0) return fail(why, "subscriber id is 0");
    if (record.prefixes == 0 || record.prefixes > kMaxPrefixes)
        return fail(why,
                    number(record.prefixes) + " prefixes, must be 1 to " + number(kMaxPrefixes));
    if (record.tunnels > kMaxLines)
        return fail(why, number(record.tunnels) + " tunnels, at most " + number(kMaxLines));
    const std::size_t fixed = sizeof record + record.prefixes * sizeof(PrefixRecord) +
                              record.tunnels * sizeof(TunnelRecord);
    // Which tunnels have keys is known once the tunnels are there.
    const std::size_t expected =
        body.size() < fixed ? fixed : fixed + keys_of(body.data()) * sizeof(KeyRecord);
    if (body.size() != expected)
        return fail(why, "subscriber record of " + number(body.size()) + " bytes, must be " +
                             number(expected));
    const SubscriberView view = view_of(body.data());
    if (!check_prefixes(view, why) || !check_tunnels(view, why) || !check_keys(view, why))
        return false;
    *out = view;
    return true;
}

bool decode(Bytes body, DeleteRecord* out, std::string* why) {
    if (!read_exact(body, out))
        return fail(why, "delete record of " + number(body.size()) + " bytes, must be " +
                             number(sizeof *out));
    if (out->id == 0) return fail(why, "id is 0");
    if (out->reserved != 0) return fail(why, "reserved field must be 0");
    return true;
}

SubscriberView view_of(const std::uint8_t* accepted) {
    SubscriberView view;
    std::memcpy(&view.record, accepted, sizeof view.record);
    const std::uint8_t* prefixes = accepted + sizeof view.record;
    const std::uint8_t* tunnels = prefixes + view.record.prefixes * sizeof(PrefixRecord);
    view.prefixes = {prefixes, view.record.prefixes};
    view.tunnels = {tunnels, view.record.tunnels};
    const std::uint8_t* keys = tunnels + view.record.tunnels * sizeof(TunnelRecord);
    view.keys = {keys, keys_of(view.tunnels)};
    const std::uint8_t* end = keys + view.keys.size() * sizeof(KeyRecord);
    view.body = {accepted, static_cast<std::size_t>(end - accepted)};
    view.digested = {accepted, static_cast<std::size_t>(keys - accepted)};
    return view;
}

const char* header_fault(const Header& header) {
    if (header.length > kMaxMessage) return "message longer than 65536 bytes";
    if (header.flags != 0) return "header flags must be 0";
    return nullptr;
}

}  // namespace dr::southbound
