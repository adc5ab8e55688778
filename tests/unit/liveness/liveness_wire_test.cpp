#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "dataplane/liveness/auth.h"
#include "dataplane/wire/keepalive.h"

using namespace dr;
using namespace dr::wire;

namespace {

std::vector<std::uint8_t> bytes_of(const std::string& hex) {
    std::vector<std::uint8_t> out;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        out.push_back(static_cast<std::uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
    }
    return out;
}

Message sample(MessageType type) {
    Message m;
    m.type = type;
    m.key_number = 3;
    m.state = State::Up;
    m.diagnostic = Diagnostic::DataLost;
    m.multiplier = 3;
    m.notes = kNoteChoice | kNoteNat;
    m.salt = 0x0123456789abcdef;
    m.counter = 77;
    if (type == MessageType::Keepalive) {
        m.flags = kFlagPoll | kFlagClasses | kFlagObserved;
        m.desired_tx_us = 100'000;
        m.required_rx_us = 200'000;
        m.tx_time_us = 3;
        m.echo_time_us = 4;
        m.echo_hold_us = 5;
        m.received = 6;
        m.highest = 7;
        m.data_sent = 8;
        m.data_received = 9;
        m.lines_up = 10;
        m.lines_down = 11;
        m.epoch = 12;
        m.policy_generation = 13;
        m.path_mtu = 1418;
        m.eligible = {3, 1, 2, 3, 4, 5, 6, 7};
        m.observed = {4, 4754, {192, 0, 2, 1}};
    } else {
        m.token = 0x1122334455667788;
        if (type == MessageType::Answer) m.answer = 42;
        if (type == MessageType::Probe || type == MessageType::ProbeAck) m.probe_size = 200;
    }
    return m;
}

std::vector<std::uint8_t> encoded(const Message& m) {
    std::vector<std::uint8_t> out(kMaxProbeSize);
    out.resize(encode(m, out));
    return out;
}

DecodeError error_of(std::vector<std::uint8_t> bytes, unsigned at, std::uint8_t value) {
    bytes[at] = value;
    Message m;
    return decode(bytes, m);
}

constexpr std::array kTypes{MessageType::Keepalive, MessageType::Challenge, MessageType::Answer,
                            MessageType::Probe, MessageType::ProbeAck};

}  // namespace

TEST_CASE("each type of message reads back as it was written") {
    for (const MessageType type : kTypes) {
        Message m = sample(type);
        if (type == MessageType::Challenge) m.answer = 0;
        const auto bytes = encoded(m);
        Message back;
        REQUIRE(decode(bytes, back) == DecodeError::None);
        CHECK(encoded(back) == bytes);
        CHECK(back.salt == m.salt);
        CHECK(back.counter == m.counter);
        CHECK(back.state == m.state);
        CHECK(back.diagnostic == m.diagnostic);
        CHECK(back.token == m.token);
        CHECK(back.eligible == m.eligible);
        CHECK(back.observed == m.observed);
    }
}

TEST_CASE("a keepalive without blocks has 88 bytes, a challenge 56, and class 0 speaks for all") {
    Message m = sample(MessageType::Keepalive);
    m.flags = 0;
    CHECK(encoded(m).size() == 88);
    CHECK(encoded(sample(MessageType::Challenge)).size() == 56);
    CHECK(encoded(sample(MessageType::Answer)).size() == 56);
    Message back;
    REQUIRE(decode(encoded(m), back) == DecodeError::None);
    CHECK(back.eligible == std::array<std::uint16_t, 8>{3, 3, 3, 3, 3, 3, 3, 3});
}

TEST_CASE("a message that is cut or lengthened is refused at every length") {
    for (const MessageType type : kTypes) {
        const auto bytes = encoded(sample(type));
        Message m;
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            CHECK(decode(std::span(bytes).first(size), m) != DecodeError::None);
        }
        auto longer = bytes;
        longer.push_back(0);
        CHECK(decode(longer, m) == DecodeError::Length);
    }
}

TEST_CASE("fields that cannot be are refused") {
    const auto keepalive = encoded(sample(MessageType::Keepalive));
    CHECK(error_of(keepalive, 0, 0x21) == DecodeError::Version);
    CHECK(error_of(keepalive, 0, 0x16) == DecodeError::Type);
    CHECK(error_of(keepalive, 0, 0x10) == DecodeError::Type);
    CHECK(error_of(keepalive, 1, 0x1d) == DecodeError::Field);   // an unknown flag
    CHECK(error_of(keepalive, 1, 0x01) == DecodeError::Length);  // blocks that the flags do not say
    CHECK(error_of(keepalive, 5, 0xe0) == DecodeError::Field);   // the reserved bit
    CHECK(error_of(keepalive, 6, 0) == DecodeError::Field);      // multiplier 0
    CHECK(error_of(keepalive, 72 + 14 + 1, 5) == DecodeError::Field);   // family 5
    CHECK(error_of(keepalive, 72 + 14 + 19, 1) == DecodeError::Field);  // IPv4 with 16 bytes
    auto zero = sample(MessageType::Keepalive);
    zero.salt = 0;
    Message m;
    CHECK(decode(encoded(zero), m) == DecodeError::Field);
    zero = sample(MessageType::Keepalive);
    zero.counter = 0;
    CHECK(decode(encoded(zero), m) == DecodeError::Field);
    CHECK(error_of(encoded(sample(MessageType::Challenge)), 39, 1) == DecodeError::Field);
    CHECK(error_of(encoded(sample(MessageType::Probe)), 34, 1) == DecodeError::Field);
    // Notes that are not known are ignored.
    CHECK(error_of(keepalive, 7, 0xff) == DecodeError::None);
}

TEST_CASE("messages, keys and tags are as the published vectors say") {
    std::ifstream file(KEEPALIVE_VECTORS);
    const auto vectors = nlohmann::json::parse(file).at("messages");
    REQUIRE(vectors.size() >= 8);
    for (const auto& v : vectors) {
        INFO(v.at("what").get<std::string>());
        const auto bytes = bytes_of(v.at("message"));
        const auto secret = bytes_of(v.at("tunnelKey"));
        liveness::TunnelKey key;
        key.number = v.at("keyNumber");
        std::copy(secret.begin(), secret.end(), key.bytes.begin());
        const auto sender = v.at("sender") == "DR" ? liveness::Role::DistributionRouter
                                                   : liveness::Role::UserRouter;
        const auto mac = liveness::derive_mac_key(key, sender, v.at("greKey"));
        CHECK(std::vector<std::uint8_t>(mac.begin(), mac.end()) == bytes_of(v.at("macKey")));
        CHECK(liveness::verify_tag(mac, bytes));
        Message m;
        REQUIRE(decode(bytes, m) == DecodeError::None);
        auto again = encoded(m);
        liveness::write_tag(mac, again);
        CHECK(again == bytes);
        CHECK(m.counter == v.at("counter").get<std::uint64_t>());
        CHECK(m.tx_time_us == v.value("txTime", 0U));
    }
}
