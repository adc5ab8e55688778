// The tunnel protocol's own messages: layouts, encode and decode. No I/O, no cryptography.
//
// A message follows the 8-byte GRE header with key, protocol type 0x88B5 (proto/TUNNEL.md §6). It
// ends with a 16-byte tag over all bytes before it; dataplane/liveness/auth.h makes and verifies
// it. Decoding needs no key and believes nothing: a decoded message is to be verified before it is
// used.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/wire/byte_order.h"

namespace dr::wire {

inline constexpr std::uint8_t kKeepaliveVersion = 1;
inline constexpr unsigned kTagSize = 16;
inline constexpr unsigned kKeepaliveClasses = 8;

// Where the outer packets of a tunnel go to, or come from. `port` 0: native GRE; else GRE-in-UDP,
// the peer's port. Integers in host order; IPv4 stands in the first 4 bytes, the rest is 0.
struct Endpoint {
    std::uint16_t family = 0;  // 4, 6, or 0: none
    std::uint16_t port = 0;
    std::array<std::uint8_t, 16> address{};
    friend constexpr bool operator==(const Endpoint&, const Endpoint&) = default;
    [[nodiscard]] constexpr bool known() const { return family != 0; }
};
static_assert(sizeof(Endpoint) == 20);

enum class MessageType : std::uint8_t {
    Keepalive = 1,
    Challenge = 2,  // "prove that you are there now, and at this address"
    Answer = 3,     // the proof; may carry a challenge in the other direction
    Probe = 4,      // padded; finds out whether a size, or another encapsulation, passes
    ProbeAck = 5,
};

// BFD's states (RFC 5880 §4.1).
enum class State : std::uint8_t { AdminDown = 0, Down = 1, Init = 2, Up = 3 };

// BFD's diagnostics (RFC 5880 §4.1); from 16 on this protocol's own.
enum class Diagnostic : std::uint8_t {
    None = 0,
    DetectionExpired = 1,
    NeighbourDown = 3,
    PathDown = 5,
    AdminDown = 7,
    DataLost = 16,           // keepalives pass, data does not
    LineDown = 17,           // the sender's own link is down
    PeerRestarted = 18,      // the peer has lost its state
    ReportedElsewhere = 19,  // the peer said so over another line
    NoPath = 20,             // never been up
    Congested = 21,          // the line is full, and loses data on its way to the sender
};

// Bits of byte 1: what a receiver must know to read the message. A bit that it does not know makes
// the message malformed.
inline constexpr std::uint8_t kFlagPoll = 1;     // RFC 5880 §6.5
inline constexpr std::uint8_t kFlagFinal = 2;    // RFC 5880 §6.5
inline constexpr std::uint8_t kFlagClasses = 4;  // block: eligible sets of classes 1-7
inline constexpr std::uint8_t kFlagObserved =
    8;  // block: the peer's endpoint as the sender sees it
inline constexpr std::uint8_t kFlagsKnown = 15;

// Bits of byte 7: notes. Unknown bits are ignored.
inline constexpr std::uint8_t kNoteNatKnown = 1;  // the sender has compared its address
inline constexpr std::uint8_t kNoteNat = 2;       // ... and somebody translates it
inline constexpr std::uint8_t kNoteDataLost = 4;  // your data does not arrive here
inline constexpr std::uint8_t kNotePlanned =
    8;  // the eligible sets may be taken up bucket by bucket
inline constexpr std::uint8_t kNoteChoice = 16;   // the eligible sets are the DR's and binding
inline constexpr std::uint8_t kNoteSuspect = 32;  // the sender misses keepalives of this tunnel
inline constexpr std::uint8_t kNoteNative = 64;   // a UR's: native GRE passes, use it
inline constexpr std::uint8_t kNoteDataMissing = 128;  // some of your data did not arrive here

inline constexpr std::uint32_t kNoEcho = 0xffffffff;  // of echo_hold_us: nothing to echo yet

// A message in host order. Fields below `counter` belong to the types named beside them.
struct Message {
    MessageType type = MessageType::Keepalive;
    std::uint8_t flags = 0;
    std::uint8_t key_number = 0;
    State state = State::Down;
    Diagnostic diagnostic = Diagnostic::None;
    std::uint8_t multiplier = 0;
    std::uint8_t notes = 0;
    std::uint64_t salt = 0;     // of the sender's start; never 0
    std::uint64_t counter = 0;  // of the sender's messages in this tunnel, from 1

    // Keepalive.
    std::uint32_t desired_tx_us = 0;
    std::uint32_t required_rx_us = 0;
    std::uint32_t tx_time_us = 0;          // the sender's clock, modulo 2^32
    std::uint32_t echo_time_us = 0;        // tx_time_us of the newest message received from you
    std::uint32_t echo_hold_us = kNoEcho;  // since it was received
    std::uint32_t received = 0;            // of your messages, since your salt was believed
    std::uint32_t highest = 0;             // counter (low 32 bits) of the newest of them
    std::uint32_t data_sent = 0;           // data packets, modulo 2^32
    std::uint32_t data_received = 0;
    std::uint16_t lines_up = 0;    // bit n: the sender's state of line n is Up
    std::uint16_t lines_down = 0;  // bit n: it was, or its link is down
    std::uint16_t epoch = 0;       // of the eligible sets
    std::uint16_t policy_generation = 0;
    std::uint16_t path_mtu = 0;                               // largest inner packet; 0: not known
    std::array<std::uint16_t, kKeepaliveClasses> eligible{};  // 1-7 with kFlagClasses
    Endpoint observed;                                        // with kFlagObserved

    // Challenge, Answer, Probe, ProbeAck.
    std::uint64_t token = 0;   // Challenge, and an Answer that challenges too; of a Probe
    std::uint64_t answer = 0;  // Answer: the token that is answered
    // Probe: length of the whole message to send, padding included. ProbeAck: that of the probe.
    std::uint16_t probe_size = 0;
};

struct [[gnu::packed]] MessageHeader {
    std::uint8_t version_type;  // version in the high, type in the low 4 bits
    std::uint8_t flags;
    Be16 length;  // of the message, tag included
    std::uint8_t key_number;
    std::uint8_t state_diagnostic;  // 2 bits, 1 bit 0, 5 bits
    std::uint8_t multiplier;
    std::uint8_t notes;
    Be64 salt;
    Be64 counter;
};
static_assert(sizeof(MessageHeader) == 24);

struct [[gnu::packed]] KeepaliveBody {
    Be32 desired_tx_us;
    Be32 required_rx_us;
    Be32 tx_time_us;
    Be32 echo_time_us;
    Be32 echo_hold_us;
    Be32 received;
    Be32 highest;
    Be32 data_sent;
    Be32 data_received;
    Be16 lines_up;
    Be16 lines_down;
    Be16 eligible;
    Be16 epoch;
    Be16 policy_generation;
    Be16 path_mtu;
};
static_assert(sizeof(KeepaliveBody) == 48);

struct ClassesBlock {  // Be16 has alignment 1
    std::array<Be16, kKeepaliveClasses - 1> eligible;
};
static_assert(sizeof(ClassesBlock) == 14);

struct [[gnu::packed]] ObservedBlock {
    Be16 family;
    Be16 port;
    std::array<std::uint8_t, 16> address;
};
static_assert(sizeof(ObservedBlock) == 20);

struct [[gnu::packed]] TokenBody {
    Be64 token;
    Be64 answer;
};
static_assert(sizeof(TokenBody) == 16);

struct [[gnu::packed]] ProbeBody {
    Be64 token;
    Be16 size;
    std::array<std::uint8_t, 6> zero;
};
static_assert(sizeof(ProbeBody) == 16);

inline constexpr unsigned kKeepaliveSize = sizeof(MessageHeader) + sizeof(KeepaliveBody) + kTagSize;
inline constexpr unsigned kTokenSize = sizeof(MessageHeader) + sizeof(TokenBody) + kTagSize;
inline constexpr unsigned kMaxKeepaliveSize =
    kKeepaliveSize + sizeof(ClassesBlock) + sizeof(ObservedBlock);
inline constexpr unsigned kMaxProbeSize = 9216;
static_assert(kKeepaliveSize == 88 && kTokenSize == 56);

enum class DecodeError : std::uint8_t {
    None,
    Short,    // smaller than its type's smallest message
    Version,  // not version 1
    Type,     // not one of MessageType
    Length,   // the length field is not the size of the message, or not one its flags allow
    Field,    // an unknown flag, salt or counter 0, a reserved bit, a family that does not exist
};

// Reads a message; `bytes` is all that follows the GRE header. `out` is set in full when the result
// is None, and may be set in part otherwise.
DecodeError decode(std::span<const std::uint8_t> bytes, Message& out);

// Writes all of `message` but the tag, whose 16 bytes are left as they are, and returns the size
// with the tag; 0 when `out` is too small or a probe_size is outside kTokenSize-kMaxProbeSize.
unsigned encode(const Message& message, std::span<std::uint8_t> out);

}  // namespace dr::wire
