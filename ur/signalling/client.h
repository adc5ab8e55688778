// The UR's end of signalling (proto/dr/v1/signalling.proto): connects to a DR, checks it, attaches,
// hands over each attachment, and does so again for as long as it lives.
//
// Forwarding never waits for it. The last attachment is kept on disk and handed over at the start,
// before any network is there; when the stream ends it stays in force. Each try resolves the DR's
// name again and goes through the addresses in turn: first those of the last attachment, then those
// of the credentials. Between tries it waits: 0.5 s at first, twice as long each time, at most 30
// s, each shortened by up to a half at random, so that many URs do not come back at once. A DR that
// refuses the UR (revoked, unknown, superseded) is asked again after 30 s.
//
// A DR is tried as the kernel routes, then out of each line: the main default route may lead over
// the one that is dead. The way that worked last comes first.
//
// A way back. An attachment has worked when, after it was applied, a stream began and the DR
// answered on it, or the one that it came over stood for `proven_after` (the pings of that time
// were answered). The last one that worked is kept beside the current one. Where one that has not
// worked yet has lost signalling, and signalling has not come back in `fallback_after` since it was
// applied (or since the start), the client puts the last one that worked in force again, or nothing
// where there is none, and sets the other aside. If signalling comes then, what was set aside is
// declined until the DR sends another content, and the DR is told why; across restarts. If it does
// not come either, the DR is away: the client takes up again what it had set aside, and so on, each
// after twice as long as the last time, at most 16 times `fallback_after`. The owner may say no to
// each such step, as long as tunnels carry traffic that the other attachment does not have.
//
// What a DR sends is bounded: a message is at most 1 MiB; four wait; after a burst of 32, ten are
// taken each second.
//
// No wall clock decides anything: certificates are checked for chain and name, not for dates.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dr/v1/signalling.pb.h"
#include "ur/signalling/credentials.h"

namespace dr::ur {

// Where an attachment comes from.
enum class Source {
    Dr,    // now
    Disk,  // the last one, at the start
    Back,  // the last one that worked, or one that was set aside, in place of the one in force
};

struct SignallingOptions {
    // Where the last attachment is kept (mode 0600: it holds the tunnels' keys); its folder exists.
    // Empty: nowhere.
    std::string cache;
    // Of the site's lines. Connecting out of one needs CAP_NET_RAW.
    std::vector<std::string> devices;
    // Of the UR's software.
    std::string version;
    // New at each start of the UR: the salt of its keepalives.
    std::uint64_t incarnation = 0;
    std::chrono::milliseconds first_back_off{500};
    std::chrono::milliseconds longest_back_off{30'000};
    std::chrono::milliseconds refused_back_off{30'000};
    // Without an answer of the DR to a ping for this long the stream is dead.
    std::chrono::milliseconds ping_interval{10'000};
    std::chrono::milliseconds ping_timeout{5'000};
    // An attachment that cuts signalling: when it is gone back from, and when it has worked.
    std::chrono::milliseconds fallback_after{120'000};
    std::chrono::milliseconds proven_after{20'000};
};

// Called on the client's own thread, one at a time; they may call any function of the client except
// stop(). Each may be empty.
struct SignallingEvents {
    // Put this in force, all of it, in place of what was. Source::Disk: from within start().
    // Source::Back: an attachment without a subscriber is nothing at all. Empty: it is in force;
    // then it is kept, and the DR is told. Otherwise why it cannot be: what was before goes on, now
    // and after a restart.
    std::function<std::string(const v1::Attachment& attachment, Source source)> attached;
    // The stream came (`address` says with whom) or went, or an attempt failed; `detail` says why.
    std::function<void(bool connected, const std::string& address, const std::string& detail)>
        changed;
};

struct SignallingStatus {
    bool connected = false;
    std::string address;  // of the DR in hand; with " over DEVICE" when it is out of a given one
    std::string detail;   // why it is not connected
    v1::Refused::Reason refused = v1::Refused::REASON_UNSPECIFIED;  // by the last DR that answered
    std::uint64_t generation = 0;  // of the attachment in force; 0: none
    bool cached = false;           // it is the one from disk
    v1::Declined declined;         // of an attachment that is not in force, and why not
    std::string peer;              // address of the DR's end as the connection has it; may be empty
    std::uint64_t attempts = 0;
};

class SignallingClient final {
  public:
    SignallingClient(v1::Credentials credentials, SignallingOptions options,
                     SignallingEvents events);
    SignallingClient(const SignallingClient&) = delete;
    SignallingClient& operator=(const SignallingClient&) = delete;
    ~SignallingClient();

    // Hands over the cached attachment if there is one, then attaches in the background.
    void start();
    // Ends the stream and the thread; no callback after it. Idempotent.
    void stop();

    // The lines as they are now, all of them; told to the DR at once when that is connected. Any
    // thread.
    void set_lines(std::vector<v1::Line> lines);
    // Tries now instead of waiting for the back-off to end: a line has come up. Any thread.
    void try_now();
    // Any thread.
    [[nodiscard]] SignallingStatus status() const;

  private:
    class Core;
    std::unique_ptr<Core> core_;
};

}  // namespace dr::ur
