// Path MTU discovery of one direction of one tunnel (RFC 8899), as a state machine without I/O:
// the engine sends the probes that it asks for, and tells it which sizes were acknowledged.
// proto/TUNNEL.md §15 is its specification.
//
// Sizes are bytes of an inner packet. A probe message of so many bytes makes an outer packet of the
// same length as an inner packet of that size does, so both count alike.
//
// A search goes through three stages. First one probe: of the largest size that is allowed, or, to
// confirm, of the size in use. If that is not acknowledged, the sizes that lines commonly have, at
// once; where packets wait in a queue, the size in use and the smallest alone for longer before
// that. Then the range between the largest size that passed and the smallest that did not is split,
// until nothing lies between. A larger size is taken up with its acknowledgement, a smaller one
// when all tries of the size in use have failed, a smaller one has passed, and the smallest of all,
// sent beside each try, has passed nearly always: a path that loses everything alike is not narrow.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/liveness/profile.h"

namespace dr::liveness {

class PathMtu {
  public:
    static constexpr std::uint16_t kStart = 1280;  // in use until a larger size has passed
    // Nothing smaller is tried, or taken from a peer: it would have this end cut packets to pieces.
    static constexpr std::uint16_t kFloor = 1024;
    static constexpr unsigned kAtOnce = 12;

    // The largest size that is allowed, at least kFloor; 0: no discovery. A smaller one than that
    // in use is taken at once. True: a search is due.
    bool limit(Time now, std::uint16_t ceiling);
    // Searches from the largest size that is allowed. `overhead`: what the outer headers take.
    void search(Time now, std::uint64_t token, std::uint16_t overhead);
    // Whether the size in use still passes. At most once a second, and not beside a search.
    void confirm(Time now, std::uint64_t token, std::uint16_t overhead);
    // Somebody says that the path takes no more than this: confirms, with that size among those
    // that are tried next if it is not smaller than kFloor. Beside it a queue is no excuse.
    void hint(Time now, std::uint64_t token, std::uint16_t overhead, std::uint16_t size);
    // Ends a search without a result. What is in use stays.
    void stop();

    // When due() or a new search() is wanted; kNever: not before something happens.
    [[nodiscard]] Time next() const { return next_; }
    // Time to look for a larger size again.
    [[nodiscard]] bool wants_search(Time now) const;
    // Sizes to be probed now; none: nothing to send. `gap`: how long an acknowledgement may take.
    // `full`: packets wait in a queue on the path, where a small one may find room and a large one
    // none, so that what is lost says little of sizes.
    std::span<const std::uint16_t> due(Time now, Time gap, bool full = false);
    // A probe of this size was acknowledged.
    void acknowledged(Time now, std::uint16_t size);

    [[nodiscard]] std::uint16_t size() const { return size_; }        // in use; 0: none yet
    [[nodiscard]] std::uint16_t ceiling() const { return ceiling_; }  // 0: no discovery
    [[nodiscard]] std::uint64_t token() const { return token_; }      // of the probes; 0: none
    [[nodiscard]] Time since() const { return since_; }               // when size() was found
    [[nodiscard]] bool searching() const { return stage_ != Stage::Idle; }
    // Since the last call: size() became smaller because it no longer passed.
    [[nodiscard]] bool take_shrunk();

  private:
    enum class Stage : std::uint8_t { Idle, First, Queue, Common, Split };

    void begin(Time now, std::uint64_t token, std::uint16_t overhead, std::uint16_t first);
    void enter(Stage stage);
    void end_of_stage(Time now, bool full);
    void finish(Time now);
    void give_up(Time now);
    void take(Time now, std::uint16_t size);
    [[nodiscard]] std::span<const std::uint16_t> volley();
    [[nodiscard]] unsigned tries() const;
    [[nodiscard]] bool queue_is_judged() const;
    [[nodiscard]] bool queue_is_full(Time gap) const;
    void add(unsigned size);

    std::uint64_t token_ = 0;
    Time next_ = kNever;
    Time since_ = 0;
    Time raise_at_ = kNever;  // the next search for a larger size
    Time confirmed_ = 0;      // when the last confirmation began
    std::uint16_t ceiling_ = 0;
    std::uint16_t size_ = 0;
    std::uint16_t overhead_ = 0;
    std::uint16_t first_ = 0;
    std::uint16_t hint_ = 0;
    std::uint16_t low_ = 0;      // the largest that passed in this search; 0: none
    std::uint16_t high_ = 0;     // the smallest that did not
    std::uint16_t set_low_ = 0;  // low_ when the stage began: its sizes lie between this and high_
    std::uint16_t raise_s_ = 0;  // seconds before the next search for a larger size
    Stage stage_ = Stage::Idle;
    std::uint8_t tries_ = 0;
    std::uint8_t count_ = 0;
    std::uint8_t control_ = 0;  // acknowledgements of kFloor in this stage
    bool shrunk_ : 1 = false;   // not told yet
    // In this search:
    bool confirms_ : 1 = false;  // it began with the size in use
    bool lowered_ : 1 = false;
    bool tried_common_ : 1 = false;
    bool sure_ : 1 = false;  // whatever queue there is, the path is narrow
    std::array<std::uint16_t, kAtOnce> sizes_{};
};
static_assert(sizeof(PathMtu) == 88);

}  // namespace dr::liveness
