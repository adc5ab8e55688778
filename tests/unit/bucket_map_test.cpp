#include "dataplane/tables/bucket_map.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
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
        tier.push_back(
            {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(1 + random() % 20)});
    return tier;
}

}  // namespace

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

TEST_CASE("shares stay within two buckets of the exact ones for every set of eligible lines") {
    std::mt19937 random(11);
    double worst = 0;
    for (unsigned round = 0; round < 100; ++round) {
        const unsigned lines = 2 + static_cast<unsigned>(random() % 5);
        const std::vector<WeightedLine> tier = random_tier(random, lines);
        for (std::uint32_t set = 1; set < 1U << lines; ++set) {
            const auto count = shares(make_bucket_map({tier}, static_cast<std::uint16_t>(set)));
            unsigned total = 0;
            for (unsigned i = 0; i < lines; ++i)
                if ((set >> i & 1U) != 0) total += tier[i].weight;
            for (unsigned i = 0; i < lines; ++i) {
                if ((set >> i & 1U) == 0) {
                    REQUIRE(count[i] == 0);
                    continue;
                }
                const double exact = 256.0 * tier[i].weight / total;
                worst = std::max(worst, std::abs(count[i] - exact));
            }
        }
    }
    CAPTURE(worst);
    CHECK(worst <= 2.0);
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
