// Encode and decode of dataplane/wire/keepalive.h.
#include "dataplane/wire/keepalive.h"

#include <algorithm>
#include <cstring>

namespace dr::wire {

namespace {

template <typename T>
T load(std::span<const std::uint8_t> bytes, unsigned at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

template <typename T>
void store(std::span<std::uint8_t> bytes, unsigned at, const T& value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

bool is_zero(std::span<const std::uint8_t> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b == 0; });
}

// `at` is where the block stands.
bool decode_observed(std::span<const std::uint8_t> bytes, unsigned at, Endpoint& out) {
    const auto block = load<ObservedBlock>(bytes, at);
    out.family = block.family.host();
    out.port = block.port.host();
    out.address = block.address;
    if (out.family == 4) return is_zero(bytes.subspan(at + 8, 12));
    return out.family == 6;
}

unsigned keepalive_size(std::uint8_t flags) {
    unsigned size = kKeepaliveSize;
    if ((flags & kFlagClasses) != 0) size += sizeof(ClassesBlock);
    if ((flags & kFlagObserved) != 0) size += sizeof(ObservedBlock);
    return size;
}

DecodeError decode_keepalive(std::span<const std::uint8_t> bytes, Message& out) {
    if (bytes.size() != keepalive_size(out.flags)) return DecodeError::Length;
    const auto body = load<KeepaliveBody>(bytes, sizeof(MessageHeader));
    out.desired_tx_us = body.desired_tx_us.host();
    out.required_rx_us = body.required_rx_us.host();
    out.tx_time_us = body.tx_time_us.host();
    out.echo_time_us = body.echo_time_us.host();
    out.echo_hold_us = body.echo_hold_us.host();
    out.received = body.received.host();
    out.highest = body.highest.host();
    out.data_sent = body.data_sent.host();
    out.data_received = body.data_received.host();
    out.lines_up = body.lines_up.host();
    out.lines_down = body.lines_down.host();
    out.epoch = body.epoch.host();
    out.policy_generation = body.policy_generation.host();
    out.path_mtu = body.path_mtu.host();
    out.eligible.fill(body.eligible.host());
    unsigned at = sizeof(MessageHeader) + sizeof(KeepaliveBody);
    if ((out.flags & kFlagClasses) != 0) {
        const auto block = load<ClassesBlock>(bytes, at);
        for (unsigned c = 1; c < kKeepaliveClasses; ++c) {
            out.eligible[c] = block.eligible[c - 1].host();
        }
        at += sizeof(ClassesBlock);
    }
    out.observed = {};
    if ((out.flags & kFlagObserved) != 0 && !decode_observed(bytes, at, out.observed)) {
        return DecodeError::Field;
    }
    return DecodeError::None;
}

DecodeError decode_tokens(std::span<const std::uint8_t> bytes, Message& out) {
    if (bytes.size() != kTokenSize) return DecodeError::Length;
    const auto body = load<TokenBody>(bytes, sizeof(MessageHeader));
    out.token = body.token.host();
    out.answer = body.answer.host();
    const bool sound =
        out.type == MessageType::Challenge ? out.token != 0 && out.answer == 0 : out.answer != 0;
    return sound && out.flags == 0 ? DecodeError::None : DecodeError::Field;
}

DecodeError decode_probe(std::span<const std::uint8_t> bytes, Message& out) {
    const auto body = load<ProbeBody>(bytes, sizeof(MessageHeader));
    out.token = body.token.host();
    out.probe_size = body.size.host();
    if (out.type == MessageType::Probe ? bytes.size() != out.probe_size
                                       : bytes.size() != kTokenSize) {
        return DecodeError::Length;
    }
    if (out.probe_size < kTokenSize || out.probe_size > kMaxProbeSize) return DecodeError::Field;
    const auto padding = bytes.subspan(sizeof(MessageHeader) + 10);
    const bool sound = out.flags == 0 && out.token != 0 && is_zero(padding.first(6));
    return sound ? DecodeError::None : DecodeError::Field;
}

DecodeError decode_header(std::span<const std::uint8_t> bytes, Message& out) {
    const auto header = load<MessageHeader>(bytes, 0);
    if (header.version_type >> 4 != kKeepaliveVersion) return DecodeError::Version;
    const unsigned type = header.version_type & 15U;
    if (type < 1 || type > 5) return DecodeError::Type;
    if (header.length.host() != bytes.size()) return DecodeError::Length;
    out.type = static_cast<MessageType>(type);
    out.flags = header.flags;
    out.key_number = header.key_number;
    out.state = static_cast<State>(header.state_diagnostic >> 6);
    out.diagnostic = static_cast<Diagnostic>(header.state_diagnostic & 31U);
    out.multiplier = header.multiplier;
    out.notes = header.notes;
    out.salt = header.salt.host();
    out.counter = header.counter.host();
    const bool sound = (header.flags & ~kFlagsKnown) == 0 &&
                       (header.state_diagnostic & 0x20U) == 0 && out.salt != 0 &&
                       out.counter != 0 && out.multiplier != 0;
    return sound ? DecodeError::None : DecodeError::Field;
}

void encode_keepalive(const Message& m, std::span<std::uint8_t> out) {
    KeepaliveBody body{};
    body.desired_tx_us = Be32::from(m.desired_tx_us);
    body.required_rx_us = Be32::from(m.required_rx_us);
    body.tx_time_us = Be32::from(m.tx_time_us);
    body.echo_time_us = Be32::from(m.echo_time_us);
    body.echo_hold_us = Be32::from(m.echo_hold_us);
    body.received = Be32::from(m.received);
    body.highest = Be32::from(m.highest);
    body.data_sent = Be32::from(m.data_sent);
    body.data_received = Be32::from(m.data_received);
    body.lines_up = Be16::from(m.lines_up);
    body.lines_down = Be16::from(m.lines_down);
    body.eligible = Be16::from(m.eligible[0]);
    body.epoch = Be16::from(m.epoch);
    body.policy_generation = Be16::from(m.policy_generation);
    body.path_mtu = Be16::from(m.path_mtu);
    store(out, sizeof(MessageHeader), body);
    unsigned at = sizeof(MessageHeader) + sizeof(KeepaliveBody);
    if ((m.flags & kFlagClasses) != 0) {
        ClassesBlock block{};
        for (unsigned c = 1; c < kKeepaliveClasses; ++c) {
            block.eligible[c - 1] = Be16::from(m.eligible[c]);
        }
        store(out, at, block);
        at += sizeof(ClassesBlock);
    }
    if ((m.flags & kFlagObserved) != 0) {
        store(out, at,
              ObservedBlock{Be16::from(m.observed.family), Be16::from(m.observed.port),
                            m.observed.address});
    }
}

unsigned size_of(const Message& m) {
    if (m.type == MessageType::Keepalive) return keepalive_size(m.flags);
    if (m.type != MessageType::Probe) return kTokenSize;
    return m.probe_size >= kTokenSize && m.probe_size <= kMaxProbeSize ? m.probe_size : 0;
}

}  // namespace

DecodeError decode(std::span<const std::uint8_t> bytes, Message& out) {
    if (bytes.size() < kTokenSize) return DecodeError::Short;
    const DecodeError error = decode_header(bytes, out);
    if (error != DecodeError::None) return error;
    switch (out.type) {
        case MessageType::Keepalive:
            return decode_keepalive(bytes, out);
        case MessageType::Challenge:
        case MessageType::Answer:
            return decode_tokens(bytes, out);
        default:
            return decode_probe(bytes, out);
    }
}

unsigned encode(const Message& m, std::span<std::uint8_t> out) {
    const unsigned size = size_of(m);
    if (size == 0 || size > out.size()) return 0;
    MessageHeader header{};
    header.version_type =
        static_cast<std::uint8_t>(kKeepaliveVersion << 4 | static_cast<std::uint8_t>(m.type));
    header.flags = m.flags;
    header.length = Be16::from(static_cast<std::uint16_t>(size));
    header.key_number = m.key_number;
    header.state_diagnostic = static_cast<std::uint8_t>(
        static_cast<std::uint8_t>(m.state) << 6 | (static_cast<std::uint8_t>(m.diagnostic) & 31));
    header.multiplier = m.multiplier;
    header.notes = m.notes;
    header.salt = Be64::from(m.salt);
    header.counter = Be64::from(m.counter);
    store(out, 0, header);
    if (m.type == MessageType::Keepalive) {
        encode_keepalive(m, out);
    } else if (m.type == MessageType::Challenge || m.type == MessageType::Answer) {
        store(out, sizeof header, TokenBody{Be64::from(m.token), Be64::from(m.answer)});
    } else {
        store(out, sizeof header, ProbeBody{Be64::from(m.token), Be16::from(m.probe_size), {}});
        const auto padding = out.first(size - kTagSize).subspan(sizeof header + sizeof(ProbeBody));
        std::fill(padding.begin(), padding.end(), std::uint8_t{0});
    }
    return size;
}

}  // namespace dr::wire
