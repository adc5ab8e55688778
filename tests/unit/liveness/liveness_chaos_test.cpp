// What holds whatever paths, people and processes do to a site's lines.
#include <catch2/catch.hpp>

#include "dataplane/liveness/choice.h"
#include "tests/unit/liveness/liveness_world.h"

using namespace dr::liveness;
using namespace dr::liveness::test;

namespace {

constexpr unsigned kLinesHere = 3;

struct Chaos {
    explicit Chaos(std::uint64_t seed) : w(setup(seed)), state(seed * 0x9e3779b97f4a7c15ULL + 1) {
        for (unsigned line = 0; line < kLinesHere; ++line) policy.tier[line] = kTiers[line];
        for (unsigned line = 0; line < kLinesHere; ++line) w.set_traffic(line, 50);
    }
    static constexpr std::array<std::uint8_t, kLinesHere> kTiers{0, 1, 1};

    static Setup setup(std::uint64_t seed) {
        Setup s;
        s.lines = kLinesHere;
        s.tier = {0, 1, 1, kNoTier};
        s.restore_ms = seed % 3 == 0 ? 0 : 3'000;
        s.tuning.clean_us = 1'000'000;
        s.automatic = seed % 2 == 0;
        s.seed = seed;
        return s;
    }
    unsigned below(unsigned n) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<unsigned>(state >> 33) % n;
    }
    void trouble() {
        const unsigned line = below(kLinesHere);
        switch (below(11)) {
            case 0:
                w.cut(line, below(2) != 0);
                break;
            case 1:
                w.up[line].cut = below(2) != 0;
                break;
            case 2:
                w.down[line].cut = below(2) != 0;
                break;
            case 3:
                w.up[line].cut_data = below(2) != 0;
                break;
            case 4:
                w.down[line].cut_data = below(2) != 0;
                break;
            case 5:
                w.up[line].delay = (1 + below(200)) * kMillisecond;
                break;
            case 6:
                w.ur.engine->line_state(w.now, w.ur.tunnels[line], below(3) != 0);
                break;
            case 7:
                w.dr.engine->set_admin(w.now, w.dr.tunnels[line],
                                       below(3) == 0 ? Admin::Drain : Admin::Up);
                break;
            case 8:
                w.ur_seen_as[line] = World::ur_endpoint(line + 16 * below(4));
                break;
            case 9:
                w.up[line].cut_native = below(2) != 0;
                w.down[line].cut_native = below(2) != 0;
                break;
            default:
                if (below(8) == 0) restart(below(2) != 0);
                for (auto& age : w.dr.ages) age = below(3) == 0 ? 0 : 10'000;
                for (auto& age : w.ur.ages) age = below(3) == 0 ? 0 : 10'000;
        }
    }
    void restart(bool the_dr) {
        w.restart(the_dr);
        (the_dr ? w.dr : w.ur).choices.clear();
    }
    void calm() {
        for (unsigned line = 0; line < kLinesHere; ++line) {
            w.up[line].cut = w.down[line].cut = w.up[line].cut_data = w.down[line].cut_data = false;
            w.up[line].cut_native = w.down[line].cut_native = false;
            w.ur.engine->line_state(w.now, w.ur.tunnels[line], true);
        }
    }
    [[nodiscard]] bool agree() const {
        return w.ur.engine->current_choice(w.ur.group).eligible ==
               w.dr.engine->current_choice(w.dr.group).eligible;
    }
    [[nodiscard]] std::uint16_t up(const End& end) const {
        unsigned mask = 0;
        for (unsigned line = 0; line < kLinesHere; ++line)
            if (w.state(end, line) == State::Up) mask |= 1U << line;
        return static_cast<std::uint16_t>(mask);
    }
    void check(const End& end) const {
        const std::uint16_t here = up(end);
        const Choice c = end.engine->current_choice(end.group);
        INFO((end.is_dr ? "DR" : "UR")
             << " at " << w.now << " up " << here << " eligible " << c.eligible[0] << " previous "
             << c.previous[0] << " moving " << c.moving);
        if (end.is_dr && here != 0) REQUIRE((c.eligible[0] & here) != 0);
        if (here != 0) REQUIRE((c.eligible[0] & ~here) == 0);
        if (c.moving) REQUIRE((in_use(policy, c.previous[0]) & ~here) == 0);
        if (!end.choices.empty()) REQUIRE(end.choices.back().eligible == c.eligible);
    }

    World w;
    ClassPolicy policy;
    std::uint64_t state;
};

}  // namespace

TEST_CASE("whatever happens, what is chosen is Up, and something is when anything is") {
    for (const std::uint64_t seed : {1U, 2U}) {
        Chaos c(seed);
        INFO("seed " << seed);
        c.w.run(5 * kSecond);
        for (unsigned round = 0; round < 6; ++round) {
            for (unsigned i = 0; i < 20; ++i) {
                c.trouble();
                for (unsigned ms = c.below(1500); ms > 0; --ms) {
                    c.w.run(kMillisecond);
                    c.check(c.w.dr);
                    c.check(c.w.ur);
                }
            }
            c.calm();
            INFO("round " << round);
            c.w.run(6 * kSecond);
            for (unsigned line = 0; line < kLinesHere; ++line) {
                INFO("line " << line);
                REQUIRE(c.w.state(c.w.dr, line) == State::Up);
                REQUIRE(c.w.state(c.w.ur, line) == State::Up);
            }
            // The UR may have a move of before to finish.
            const bool agree = c.w.run_until([&] { return c.agree(); }, 75 * kSecond);
            const Choice dr = c.w.dr.engine->current_choice(c.w.dr.group);
            const Choice ur = c.w.ur.engine->current_choice(c.w.ur.group);
            INFO("DR " << dr.eligible[0] << " moving " << dr.moving << " epoch " << dr.epoch);
            INFO("UR " << ur.eligible[0] << " moving " << ur.moving << " epoch " << ur.epoch);
            REQUIRE(agree);
        }
    }
}
