// What liveness threads are told of policies and subscribers that have tunnels with keys, and what
// they have found out since: endpoints and choices of lines. Configuration never overwrites the
// latter: an endpoint holds until the operator configures another one, a choice until the next.
//
// One thread: the writer.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "dataplane/tables/tables.h"
#include "dataplane/writer/books.h"
#include "dataplane/writer/graveyard.h"
#include "dataplane/writer/liveness_link.h"
#include "dataplane/writer/map_pool.h"
#include "dataplane/writer/subscriber_table.h"
#include "dataplane/writer/tunnel_row.h"
#include "dataplane/writer/tunnel_table.h"

namespace dr::southbound {

class LiveBook final {
  public:
    // Where choices and endpoints take effect; all outlive the object.
    struct Around {
        Tables& tables;  // the MoveBoard
        const Books& books;
        MapPool& maps;
        SubscriberTable& subscribers;
        TunnelTable& tunnels;
        Graveyard& graveyard;
    };
    // As of WriterHooks; empty: nobody is told.
    struct Listeners {
        std::function<void(LivePolicy policy)> policy;
        std::function<void(LiveSubscriber subscriber)> subscriber;
    };
    LiveBook(const Around& around, Listeners listeners)
        : around_(around), listeners_(std::move(listeners)) {}

    // The subscriber's lines that may carry traffic now, when its policy has this shape.
    [[nodiscard]] ClassMasks usable(const SubscriberView& view, const PolicyShape& shape,
                                    std::uint32_t index) const;
    // The tunnel with what is known of its peer's endpoint.
    [[nodiscard]] BoundTunnel bound(const TunnelRecord& record) const;
    // Forgets an endpoint that does not hold for the tunnel as it is configured now.
    void forget_stale_endpoint(const TunnelRecord& record);
    void forget_endpoint(std::uint32_t slot) { learned_.erase(slot); }

    // A policy is new or has changed; it is gone.
    void tell(const Policy& policy) const;
    void tell_policy_gone(std::uint32_t id) const;
    // A subscriber is new or has changed, or its policy has; it is gone.
    void tell(std::uint32_t index, const SubscriberView& view, const Policy& policy);
    void tell_gone(std::uint32_t index, std::uint32_t id);

    // What liveness threads ask for, and what had to wait for room.
    [[nodiscard]] bool waits() const {
        return !starved_binds_.empty() || !starved_choices_.empty();
    }
    void serve(std::span<const BindRequest> binds, std::span<const ChoiceRequest> choices);

  private:
    // What liveness has decided of a subscriber.
    struct Live {
        std::uint32_t incarnation{};
        bool chosen{};
        std::uint32_t place = kMoves;  // on the MoveBoard; kMoves: none
        liveness::Choice choice{};
    };
    // An endpoint that keepalives were believed from.
    struct Learned {
        BindRequest bind;
        // What was configured then: another word of the operator counts again.
        std::array<std::uint8_t, 16> remote{};
        std::uint16_t remote_port{};
        bool ports{};  // it was configured with UDP ports: GRE-in-UDP or automatic
    };
    static bool still_holds(const Learned& known, const TunnelRecord& record);

    void serve_bind(const BindRequest& bind);
    bool rebind(std::uint32_t index, const TunnelRecord& record);
    void serve_choice(const ChoiceRequest& request);
    void publish_choice(std::uint32_t index);
    void take_place(Live& state, const PolicyShape& shape, const SubscriberView& view);
    void leave_place(Live& state);

    Around around_;
    Listeners listeners_;
    std::unordered_map<std::uint32_t, Live> lives_;       // by index; those with keys
    std::unordered_map<std::uint32_t, Learned> learned_;  // by tunnel slot
    // What had to wait for room: subscribers' choices by index, endpoints by tunnel.
    std::unordered_set<std::uint32_t> starved_choices_;
    std::unordered_set<std::uint32_t> starved_binds_;
    std::uint32_t incarnation_{};
    std::uint64_t places_taken_{};  // of the MoveBoard
};

}  // namespace dr::southbound
