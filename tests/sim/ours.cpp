// The liveness engine at both ends, as the product runs it.
#include <algorithm>
#include <bit>

#include "tests/sim/detector.h"
#include "tests/sim/path.h"

namespace dr::sim {

namespace {

using namespace dr::liveness;

Endpoint endpoint(std::uint8_t last) {
    Endpoint e;
    e.family = 4;
    e.port = 4754;
    e.address = {192, 0, 2, last};
    return e;
}

Endpoint endpoint_of(Side side, unsigned line) {
    return endpoint(side == Side::Dr ? std::uint8_t{1} : static_cast<std::uint8_t>(100 + line));
}

class End final : public Host {
  public:
    End(const Scenario& scenario, Side side, std::uint64_t seed, Time now, Observer& observer)
        : side_(side), observer_(observer), random_(seed) {
        const auto lines = static_cast<std::uint32_t>(scenario.lines.size());
        Config config;
        config.role = side == Side::Dr ? Role::DistributionRouter : Role::UserRouter;
        config.seed = seed;
        std::string error;
        engine_ = Engine::create(config, {lines, 1, 1, 1}, *this, &error);
        if (engine_ == nullptr) throw ScenarioError("the engine does not start: " + error);
        Policy policy;
        for (unsigned line = 0; line < lines; ++line) {
            policy.klass[0].tier[line] = static_cast<std::uint8_t>(line);
        }
        engine_->set_policy(now, 0, policy);
        group_ = engine_->add_group(now, {0, scenario.restore_s * 1000, 0});
        up_.assign(lines, false);
        for (unsigned line = 0; line < lines; ++line) add_line(scenario, line, now);
    }

    void receive(Time now, unsigned line, std::span<const std::uint8_t> bytes) {
        engine_->receive(now, tunnels_[line], bytes, endpoint_of(other(side_), line));
        deadline_ = engine_->next_deadline();
        look();
    }
    void run(Time now) {
        deadline_ = engine_->run(now);
        look();
    }
    [[nodiscard]] Time deadline() const { return deadline_; }
    [[nodiscard]] unsigned last_removed() const { return last_removed_; }

    void send(TunnelRef tunnel, const Endpoint&, std::span<const std::uint8_t> message) override {
        // Tunnels are numbered from 0 in the order in which they were added.
        observer_.send(side_, tunnel.value, message);
    }
    void bind(TunnelRef, const Endpoint&) override {}
    void choice(GroupRef, const Choice& choice) override {
        if (side_ != Side::Dr) return;
        const unsigned eligible = choice.eligible[0];
        chosen_ = chosen_ || eligible != 0;
        if (!chosen_) return;
        none_ = eligible == 0;
        changed_ = true;
        observer_.path(none_ ? kNoPath : static_cast<unsigned>(std::countr_zero(eligible)));
    }
    void event(const Event& event) override {
        if (event.kind != EventKind::StateChanged) return;
        const bool up = event.to == State::Up;
        if (up == up_[event.tunnel.value]) return;
        up_[event.tunnel.value] = up;
        observer_.state(side_, event.tunnel.value, up);
    }
    // There is no data: what carries it is not what is simulated.
    DataCounters data_counters(TunnelRef) override { return {}; }
    void bucket_ages(GroupRef, std::span<std::uint32_t, kBuckets> ages) override {
        std::fill(ages.begin(), ages.end(), kAgeSettled);
    }
    std::uint64_t random() override { return random_.next(); }

  private:
    void add_line(const Scenario& scenario, unsigned line, Time now) {
        TunnelConfig config;
        config.group = group_;
        config.line = static_cast<std::uint8_t>(line);
        config.id = 0x100 + line;
        config.profile = scenario.profile;
        config.keys[0].number = 1;
        config.keys[0].bytes.fill(static_cast<std::uint8_t>(line + 1));
        config.roaming = side_ == Side::Dr;
        if (side_ == Side::Ur) {
            config.peer = endpoint_of(Side::Dr, line);
            config.local = endpoint_of(Side::Ur, line);
        }
        const TunnelRef tunnel = engine_->add_tunnel(now, config);
        if (tunnel.value != line) throw ScenarioError("the engine refuses a tunnel");
        tunnels_.push_back(tunnel);
    }

    // Between two calls the choice fits the states.
    void look() {
        if (!changed_) return;
        changed_ = false;
        const bool some_up = std::find(up_.begin(), up_.end(), true) != up_.end();
        last_removed_ += none_ && some_up;
    }

    Side side_;
    Observer& observer_;
    Random random_;
    std::unique_ptr<Engine> engine_;
    GroupRef group_;
    std::vector<TunnelRef> tunnels_;
    std::vector<bool> up_;
    Time deadline_ = 0;
    bool chosen_ = false;
    bool changed_ = false;
    bool none_ = false;
    unsigned last_removed_ = 0;
};

class Ours final : public Detector {
  public:
    Ours(const Scenario& scenario, std::uint64_t seed, Time now, Observer& observer)
        : dr_(scenario, Side::Dr, seed, now, observer),
          ur_(scenario, Side::Ur, ~seed, now, observer) {}
    void receive(Time now, Side at, unsigned line, std::span<const std::uint8_t> bytes) override {
        end(at).receive(now, line, bytes);
    }
    void run(Time now, Side at) override { end(at).run(now); }
    [[nodiscard]] Time deadline(Side at) const override {
        return at == Side::Dr ? dr_.deadline() : ur_.deadline();
    }
    [[nodiscard]] unsigned last_removed() const override { return dr_.last_removed(); }

  private:
    End& end(Side side) { return side == Side::Dr ? dr_ : ur_; }
    End dr_;
    End ur_;
};

}  // namespace

std::unique_ptr<Detector> make_ours(const Scenario& scenario, std::uint64_t seed, Time now,
                                    Observer& observer) {
    return std::make_unique<Ours>(scenario, seed, now, observer);
}

}  // namespace dr::sim
