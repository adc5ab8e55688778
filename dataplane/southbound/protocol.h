// The southbound protocol between drd and dr-dataplane: AF_UNIX SOCK_STREAM, by default
// /run/dr/dataplane.sock, mode 0660; SO_PEERCRED must be root, the data plane's user, or a member
// of the socket's group.
//
// Every message is a Header and `length` further bytes. Little-endian, naturally aligned structs
// without padding; addresses are network byte order, IPv4 in the first 4 bytes of 16. Both ends run
// on one machine and speak exactly one version: HELLO with another is refused.
//
//   client                              data plane
//   Hello                            -> HelloReply (a State)
//   TxnBegin, records…, TxnCommit    -> TxnResult (epoch and rows, or the error and nothing
//                                       changed)
//   SyncBegin, transactions…, SyncEnd-> SyncResult (SyncEnd deletes all that was not upserted
//                                       since SyncBegin)
//   GetState                         -> State
//   GetCounters                      -> CountersReply + one descriptor (SCM_RIGHTS): counters.h
//   GetLiveness                      -> LivenessReply + one descriptor: liveness_memfd.h
//   GetDrops                         -> DropsReply + one descriptor: drops.h
//   SetDrain                         -> State
//   Subscribe                        -> Event… as they happen
//   AdvanceGate                      -> State (replay ports only: lets step n's packets in)
//
// One client at a time may provision (the first that sends Hello with kProvisioner); others may
// read. A message that cannot be understood is answered with Error and the connection is closed;
// a transaction not committed by then is forgotten. A record that is refused fails its transaction.
// Flow control: the client sends a transaction of at most kMaxTxnBytes and kMaxTxnRecords, and has
// at most kMaxOutstanding unanswered ones.
#pragma once

#include <array>
#include <cstdint>

namespace dr::southbound {

inline constexpr std::uint32_t kVersion = 6;
inline constexpr std::uint32_t kMaxMessage = 64 * 1024;  // bytes after the header
inline constexpr std::uint32_t kMaxTxnBytes = 16 * 1024 * 1024;
inline constexpr std::uint32_t kMaxTxnRecords = 65'536;
inline constexpr std::uint32_t kMaxOutstanding = 4;
inline constexpr const char* kDefaultSocket = "/run/dr/dataplane.sock";

enum class Type : std::uint16_t {
    Hello = 1,
    HelloReply = 2,
    Error = 3,
    TxnBegin = 10,
    TxnCommit = 11,
    TxnAbort = 12,
    TxnResult = 13,
    SyncBegin = 14,
    SyncEnd = 15,
    SyncResult = 16,
    UpsertPool = 20,
    DeletePool = 21,
    UpsertPolicy = 22,
    DeletePolicy = 23,
    UpsertSubscriber = 24,
    DeleteSubscriber = 25,
    GetState = 30,
    State = 31,
    GetCounters = 32,
    CountersReply = 33,
    SetDrain = 34,
    Subscribe = 35,
    Event = 36,
    AdvanceGate = 37,
    GetLiveness = 38,
    LivenessReply = 39,
    GetDrops = 40,
    DropsReply = 41,
};

struct Header {
    std::uint32_t length;  // bytes that follow
    std::uint16_t type;
    std::uint16_t flags;  // 0
};
static_assert(sizeof(Header) == 8);

enum class Table : std::uint8_t {
    Pools,
    Policies,
    Subscribers,
    Tunnels,
    Prefixes4,
    Prefixes6,
    Maps,
    Groups4,
    Groups6,
    Count
};
inline constexpr std::size_t kTables = static_cast<std::size_t>(Table::Count);
inline constexpr std::array<const char*, kTables> kTableNames{"pools",   "policies",  "subscribers",
                                                              "tunnels", "prefixes4", "prefixes6",
                                                              "maps",    "groups4",   "groups6"};

// A part of the data plane's memory. Names are interfaces: "writer.*" is what only the table writer
// uses, "counters" the counters memfd, all others what workers look up in.
struct Memory {
    std::array<char, 24> name;     // zero-padded
    std::uint64_t bytes;           // in use, or in use before
    std::uint64_t capacity_bytes;  // taken at start; 0: grows with use
    std::uint32_t rows;            // in use; 0 with capacity 0: not made of rows
    std::uint32_t capacity_rows;
};
static_assert(sizeof(Memory) == 48);
inline constexpr std::size_t kMaxMemories = 24;

struct Hello {
    std::uint32_t version;
    std::uint32_t role;          // kProvisioner or kReader
    std::array<char, 32> build;  // DR_VERSION, zero-padded
};
inline constexpr std::uint32_t kReader = 0;
inline constexpr std::uint32_t kProvisioner = 1;

// Also the body of HelloReply.
struct State {
    std::uint32_t version;
    // Bit 0: drain; bit 1: synced at least once since start; from kRoutesWaitingShift on: how many
    // routes of the kernel wait for room in the tables, at most kMaxRoutesWaiting.
    std::uint32_t flags;
    std::array<std::uint8_t, 16> uuid;  // new at each start of the data plane
    std::array<char, 32> build;
    std::uint64_t epoch;  // of the last commit
    std::array<std::uint32_t, kTables> rows;
    std::array<std::uint32_t, kTables> capacity;
    // Sum (mod 2^64) of record_digest() over the installed records of each kind: 0 pools, 1
    // policies, 2 subscribers.
    std::array<std::uint64_t, 3> digest;
    std::uint32_t memories;  // how many of `memory` count
    // The id of a subscriber one of whose prefixes holds something of the router's own, as
    // BadReference means it; 0: none.
    std::uint32_t around_own;
    std::array<Memory, kMaxMemories> memory;
};
inline constexpr std::uint32_t kStateDrain = 1;
inline constexpr std::uint32_t kStateSynced = 2;
inline constexpr unsigned kRoutesWaitingShift = 8;
inline constexpr std::uint32_t kMaxRoutesWaiting = (1U << 24) - 1;

struct TxnBegin {
    std::uint64_t id;
};
struct TxnCommit {
    std::uint32_t flags;
    std::uint32_t reserved;
};
// TxnCommit, SyncEnd: even if it drops most subscribers, or, from SyncBegin to SyncEnd, most of the
// pools, policies, subscribers or tunnels that there were at SyncBegin.
inline constexpr std::uint32_t kForce = 1;

// Status of TxnResult, SyncResult and Error.
enum class Status : std::uint32_t {
    Ok = 0,
    Malformed = 1,     // a length or a field is out of bounds
    BadReference = 2,  // unknown policy or pool; outside a sync, a prefix that holds something of
                       // the router's own: `text` then begins with the field, "prefixes[2]: "
    Conflict = 3,      // prefix or tunnel id belongs to another subscriber
    Full = 4,          // a table's capacity; `text` names it
    NeedsForce = 5,    // would drop most rows (kForce): more than half of 10 or more, or all
                       // subscribers
    BadSequence = 6,   // a message that does not fit the state of the conversation
    BadVersion = 7,
    NotPermitted = 8,  // the peer's credentials, or another provisioner is connected
    NotFound = 9,
};

struct Result {
    std::uint64_t id;      // of TxnBegin; 0 for SyncResult and Error
    std::uint32_t status;  // Status
    std::uint32_t record;  // index within the transaction of the record at fault
    std::uint64_t epoch;
    std::array<std::uint32_t, kTables> rows;
    std::uint32_t reserved;
    std::array<char, 160> text;  // what was wrong and what would be right; zero-terminated
};

struct PoolRecord {
    std::uint32_t id;     // drd's stable id, not 0
    std::uint8_t family;  // 4 or 6
    std::uint8_t length;
    std::uint8_t announce;
    std::uint8_t reserved;
    std::array<std::uint8_t, 16> address;
};
static_assert(sizeof(PoolRecord) == 24);

// Body of DeletePool, DeletePolicy, DeleteSubscriber. Deleting what is not there is no error.
struct DeleteRecord {
    std::uint32_t id;
    std::uint32_t reserved;
};

// PolicyRecord, then `classes` ClassRecords, then `lines` LineRecords in order of class, tier,
// position.
struct PolicyRecord {
    std::uint32_t id;
    std::uint16_t lines;            // at most kMaxClasses * kMaxLines; distinct names kMaxLines
    std::uint16_t wait_to_restore;  // seconds; 0: traffic does not return by itself
    std::uint16_t generation;       // as keepalives carry it
    std::uint16_t classes;          // as many as the lines are of, 1-8
};
static_assert(sizeof(PolicyRecord) == 12);
// What a line must keep to carry the class; 0: any.
struct ClassRecord {
    std::uint16_t max_loss_permille;  // at most 999
    std::uint16_t max_rtt_ms;
    std::uint16_t max_jitter_ms;
    std::uint8_t strict;  // 1: no line that does not, ever; 0: else the least bad one
    std::uint8_t reserved;
};
static_assert(sizeof(ClassRecord) == 8);
struct LineRecord {
    std::array<char, 32> name;  // zero-padded, at most 31 bytes
    std::uint8_t class_number;  // 0-7, ascending without gaps
    std::uint8_t tier;          // ascending without gaps within the class
    std::uint8_t weight;        // 1-255
    std::uint8_t number;        // in keepalives, 0-15: one for each name
};
static_assert(sizeof(LineRecord) == 36);

// SubscriberRecord, then its PrefixRecords, then its TunnelRecords, then one KeyRecord for each
// tunnel whose key_number is not 0, in the order of the tunnels.
struct SubscriberRecord {
    std::uint32_t id;  // drd's stable id, not 0
    std::uint32_t policy;
    std::uint32_t hash_seed;
    std::uint16_t prefixes;
    std::uint16_t tunnels;
};
static_assert(sizeof(SubscriberRecord) == 16);

struct PrefixRecord {
    std::uint8_t family;
    std::uint8_t length;
    std::uint16_t reserved;
    std::array<std::uint8_t, 16> address;
};
static_assert(sizeof(PrefixRecord) == 20);

enum class Encapsulation : std::uint8_t {
    Gre = 1,
    GreUdp = 2,
    Automatic = 3,  // GRE-in-UDP; with a key, native GRE while the UR says that it passes
};
inline constexpr bool is_encapsulation(Encapsulation e) {
    return e >= Encapsulation::Gre && e <= Encapsulation::Automatic;
}
// Whether tunnels of this kind may use GRE-in-UDP, and so have UDP ports.
inline constexpr bool has_ports(Encapsulation e) {
    return e != Encapsulation::Gre;
}

// What a line is like, and so how its tunnel is watched.
enum class Profile : std::uint8_t { None = 0, Fixed = 1, Mobile = 2, Satellite = 3, Metered = 4 };
inline constexpr Profile kLastProfile = Profile::Metered;

struct TunnelRecord {
    std::uint32_t id;  // the GRE key
    Encapsulation encapsulation;
    std::uint8_t family;        // of local and remote
    std::uint16_t remote_port;  // GRE-in-UDP: 0 = 4754 with entropy source port; else fixed
    std::uint16_t mtu;          // largest inner packet
    std::uint8_t key_number;    // 0: no keepalives, up while configured
    Profile profile;            // None without a key
    std::array<std::uint8_t, 16> local;
    std::array<std::uint8_t, 16> remote;  // zero, with a key only: learned from keepalives
    std::array<char, 32> line;
};
static_assert(sizeof(TunnelRecord) == 76);

// Secret: neither logged nor shown, and no part of a digest.
struct KeyRecord {
    std::uint32_t tunnel;          // the GRE key of a tunnel of this record
    std::uint8_t number;           // that tunnel's key_number
    std::uint8_t previous_number;  // still accepted; 0: none
    std::uint16_t reserved;
    std::array<std::uint8_t, 32> key;
    std::array<std::uint8_t, 32> previous;  // zero when there is none
};
static_assert(sizeof(KeyRecord) == 72);

// FNV-1a, 64 bits, of a record's whole body (fixed part and what follows), KeyRecords left out: a
// tunnel's key_number stands for its key.
inline std::uint64_t record_digest(const std::uint8_t* body, std::size_t length) {
    std::uint64_t h = 0xcbf29ce484222325ULL;
    for (std::size_t i = 0; i < length; ++i) h = (h ^ body[i]) * 0x100000001b3ULL;
    return h;
}

// Also the body of LivenessReply and DropsReply.
struct CountersReply {
    std::uint64_t bytes;  // size of the memfd
    std::array<std::uint8_t, 16> uuid;
};
using LivenessReply = CountersReply;
using DropsReply = CountersReply;

struct SetDrain {
    std::uint32_t drain;
    std::uint32_t reserved;
};
struct AdvanceGate {
    std::uint32_t step;
    std::uint32_t reserved;
};

enum class EventKind : std::uint32_t {
    Committed = 5,  // 1 to 4 are not used: liveness has a memfd of its own
    LinkUp = 6,
    LinkDown = 7,
    PortStalled = 8,
    PortRecovered = 9,
    WorkerStalled = 10,
    WorkerRecovered = 11
};
struct Event {
    std::uint64_t sequence;
    std::uint64_t at_ns;  // steady clock of the data plane
    std::uint32_t kind;   // EventKind
    std::uint32_t id;     // tunnel id, or number of a port or worker, or 0
    std::uint64_t value;  // epoch for Committed; Fault (counters.h) of a port or worker
};

}  // namespace dr::southbound
