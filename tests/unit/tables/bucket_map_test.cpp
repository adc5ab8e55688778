#include "dataplane/tables/bucket_map.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <random>

using namespace dr;

namespace {

std::array<unsigned, kMaxLines> shares(const BucketMap& map) {
    std::array<unsigned, kMaxLines> count{};
    for (const std::uint8_t line : map.line)
        if (line < kMaxLines) ++count[line];
    return count;
}

std::vector<WeightedLine> random_tier(std::mt19937& random, unsigned lines) {
    std::vector<WeightedLine> tier;
    for (unsigned i = 0; i < lines; ++i)
        tier.push_back({static_cast<std::uint8_t>(i),
                        static_cast<std::uint8_t>(1 + random() % (random() % 2 == 0 ? 12 : 255))});
    return tier;
}

// Webster's apportionment of 256 buckets to the lines of a set.
std::array<unsigned, kMaxLines> webster(const std::vector<WeightedLine>& tier, std::uint32_t set) {
    std::array<unsigned, kMaxLines> count{};
    for (unsigned bucket = 0; bucket < 256; ++bucket) {
        double best = -1;
        unsigned winner = 0;
        for (unsigned i = 0; i < tier.size(); ++i) {
            if ((set >> i & 1U) == 0) continue;
            const double claim = tier[i].weight / (count[i] + 0.5);
            if (claim > best * (1 + 1e-12)) {
                best = claim;
                winner = i;
            }
        }
        ++count[winner];
    }
    return count;
}

// TUNNEL.md §4 to the letter.
class Definition {
  public:
    explicit Definition(std::vector<WeightedLine> tier) : tier_(std::move(tier)) {}

    // Position of the line that a bucket goes to.
    unsigned walk(unsigned bucket, std::uint32_t eligible) {
        std::uint32_t set = (1U << tier_.size()) - 1;
        while ((eligible >> owner(set, bucket) & 1U) == 0) set &= ~(1U << owner(set, bucket));
        return owner(set, bucket);
    }

  private:
    static constexpr unsigned kReaches = 99;
    // The line at which the walk for E = set ends before it reaches set itself.
    unsigned walk_above(unsigned bucket, std::uint32_t wanted) {
        std::uint32_t set = (1U << tier_.size()) - 1;
        while (set != wanted) {
            const unsigned line = owner(set, bucket);
            if ((wanted >> line & 1U) != 0) return line;
            set &= ~(1U << line);
        }
        return kReaches;
    }
    unsigned owner(std::uint32_t set, unsigned bucket) {
        const auto known = owners_.find(set);
        if (known != owners_.end()) return known->second[bucket];
        std::array<unsigned, kMaxLines> count{};
        std::array<unsigned, 256> owners{};
        for (unsigned b = 0; b < 256; ++b) {
            owners[b] = walk_above(b, set);
            if (owners[b] != kReaches) ++count[owners[b]];
        }
        for (unsigned b = 0; b < 256; ++b) {
            if (owners[b] != kReaches) continue;
            unsigned best = kMaxLines;
            for (unsigned i = 0; i < tier_.size(); ++i) {
                if ((set >> i & 1U) == 0) continue;
                if (best == kMaxLines || tier_[i].weight * (2 * count[best] + 1) >
                                             tier_[best].weight * (2 * count[i] + 1))
                    best = i;
            }
            owners[b] = best;
            ++count[best];
        }
        return owners_.emplace(set, owners).first->second[bucket];
    }

    std::vector<WeightedLine> tier_;
    std::map<std::uint32_t, std::array<unsigned, 256>> owners_;
};

}  // namespace

TEST_CASE("the maps of one maker, in whatever order they are asked for, are the defined ones") {
    std::mt19937 random(29);
    for (const unsigned lines : {1U, 2U, 3U, 5U, 8U, 16U}) {
        const std::vector<WeightedLine> tier = random_tier(random, lines);
        Definition definition(tier);
        BucketMaps maps({tier});
        for (unsigned round = 0; round < 40; ++round) {
            // Few lines left as often as many.
            std::uint32_t set = 1U << random() % lines;
            for (auto more = random() % lines; more > 0; --more) set |= 1U << random() % lines;
            const BucketMap map = maps.make(static_cast<std::uint16_t>(set));
            unsigned wrong = 0;
            for (unsigned b = 0; b < 256; ++b)
                wrong += map.line[b] == definition.walk(b, set) ? 0 : 1;
            REQUIRE(wrong == 0);
        }
    }
}

TEST_CASE("weights that divide 256 are met exactly") {
    const auto count = shares(make_bucket_map({{{0, 3}, {1, 1}}}, 3));
    CHECK(count[0] == 192);
    CHECK(count[1] == 64);
    const auto four = shares(make_bucket_map({{{0, 1}, {1, 1}, {2, 1}, {3, 1}}}, 15));
    for (unsigned i = 0; i < 4; ++i) CHECK(four[i] == 64);
}

TEST_CASE("a line that leaves moves only its own buckets, whatever left before") {
    std::mt19937 random(7);
    for (unsigned round = 0; round < 40; ++round) {
        const unsigned lines = 2 + static_cast<unsigned>(random() % 5);
        const Tiers tiers{random_tier(random, lines)};
        for (std::uint32_t set = 1; set < 1U << lines; ++set) {
            const BucketMap before = make_bucket_map(tiers, static_cast<std::uint16_t>(set));
            for (unsigned gone = 0; gone < lines; ++gone) {
                const std::uint32_t left = set & ~(1U << gone);
                if (left == set || left == 0) continue;
                const BucketMap after = make_bucket_map(tiers, static_cast<std::uint16_t>(left));
                unsigned wrong = 0;
                for (unsigned b = 0; b < 256; ++b)
                    if (before.line[b] != gone && before.line[b] != after.line[b]) ++wrong;
                REQUIRE(wrong == 0);
            }
        }
    }
}

TEST_CASE("with all lines, or all but one, the shares are exactly those of Webster's method") {
    std::mt19937 random(11);
    for (unsigned round = 0; round < 200; ++round) {
        const unsigned lines = 1 + static_cast<unsigned>(random() % 6);
        const std::vector<WeightedLine> tier = random_tier(random, lines);
        const std::uint32_t all = (1U << lines) - 1;
        for (unsigned lost = 0; lost <= lines; ++lost) {
            const std::uint32_t set = all & ~(1U << lost);  // lost == lines: none
            if (set == 0) continue;
            REQUIRE(shares(make_bucket_map({tier}, static_cast<std::uint16_t>(set))) ==
                    webster(tier, set));
        }
    }
}

TEST_CASE("with more lines lost the shares stay within six buckets of Webster's") {
    std::mt19937 random(12);
    for (unsigned round = 0; round < 150; ++round) {
        const unsigned lines = 2 + static_cast<unsigned>(random() % 5);
        const std::vector<WeightedLine> tier = random_tier(random, lines);
        for (std::uint32_t set = 1; set < 1U << lines; ++set) {
            const auto count = shares(make_bucket_map({tier}, static_cast<std::uint16_t>(set)));
            const auto ideal = webster(tier, set);
            for (unsigned i = 0; i < lines; ++i) {
                if ((set >> i & 1U) == 0) REQUIRE(count[i] == 0);
                REQUIRE(std::abs(static_cast<int>(count[i]) - static_cast<int>(ideal[i])) <= 6);
            }
        }
    }
}

TEST_CASE("of lines with equal claims the first in the tier gets the bucket") {
    CHECK(make_bucket_map({{{7, 2}, {3, 2}}}, 0xffff).line[0] == 7);
    CHECK(make_bucket_map({{{3, 2}, {7, 2}}}, 0xffff).line[0] == 3);
}

TEST_CASE("the first tier with an eligible line is used") {
    const Tiers tiers{{{0, 1}}, {{1, 1}, {2, 1}}};
    CHECK(shares(make_bucket_map(tiers, 7))[0] == 256);
    CHECK(shares(make_bucket_map(tiers, 6))[1] == 128);
    CHECK(shares(make_bucket_map(tiers, 4))[2] == 256);
}

TEST_CASE("without an eligible line every bucket says so") {
    const BucketMap map = make_bucket_map({{{0, 1}}}, 2);
    for (const std::uint8_t line : map.line) CHECK(line == BucketMap::kNone);
}
