// Readers look addresses up while the writer churns and reclaims. A reader may only ever see a
// target that was legal for its address: what a group's next user stores in it would show here.
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "tests/unit/tables/lpm_model.h"

using namespace dr;
using namespace dr::test;

namespace {

constexpr unsigned kSites = 512;
constexpr unsigned kReaders = 2;

// The address of a site. Each site has a group (IPv4) or a chain of groups (IPv6) for itself, so
// that churn hands groups from site to site.
template <std::size_t Bytes>
typename Lpm<Bytes>::Address site_address(unsigned site) {
    typename Lpm<Bytes>::Address a{};
    a[0] = 10;
    a[1] = static_cast<std::uint8_t>(site >> 8);
    a[2] = static_cast<std::uint8_t>(site);
    a[Bytes - 1] = static_cast<std::uint8_t>(site * 7);
    return a;
}

// Legal for a site: its own number, the covering pool, or nothing.
bool legal(Target target, unsigned site) {
    if (target == Target{} || target == Target(TargetKind::Pool, 1)) return true;
    return target.kind() == TargetKind::Subscriber && target.index() % kSites == site;
}

template <std::size_t Bytes>
struct Churn {
    static constexpr unsigned kBits = Bytes * 8;
    // Room for three quarters of the sites: groups must be used again and again.
    static constexpr unsigned kGroupsPerSite = (kBits - 24) / 8;
    static constexpr unsigned kGroups = kSites * 3 / 4 * kGroupsPerSite;

    Qsbr qsbr;
    std::unique_ptr<Lpm<Bytes>> lpm = Lpm<Bytes>::create(kGroups, 10'000, qsbr);
    std::atomic<bool> stop{false};
    std::array<std::atomic<std::uint64_t>, kReaders> rounds{};
    std::atomic<std::uint64_t> illegal{0};
    std::atomic<std::uint64_t> subscribers_seen{0};

    void read(unsigned reader) {
        std::mt19937 random(reader);
        std::uint64_t seen = 0;
        qsbr.online(reader);
        while (!stop.load(std::memory_order_relaxed)) {
            for (unsigned i = 0; i < 64; ++i) {
                const unsigned site = static_cast<unsigned>(random() % kSites);
                const auto address = site_address<Bytes>(site);
                const Target target = lpm->lookup(address.data());
                if (!legal(target, site)) ++illegal;
                if (target.kind() == TargetKind::Subscriber) ++seen;
            }
            qsbr.quiescent(reader);
            if (++rounds[reader] % 16 == 0) {
                qsbr.offline(reader);
                std::this_thread::yield();  // as a worker that sleeps
                qsbr.online(reader);
            }
        }
        qsbr.offline(reader);
        subscribers_seen += seen;
    }
    // Groups taken in all.
    std::uint64_t write(unsigned operations) {
        std::mt19937 random(99);
        std::uint64_t taken = 0;
        std::vector<bool> present(kSites);
        typename Lpm<Bytes>::Address pool{};
        pool[0] = 10;
        for (unsigned i = 0; i < operations; ++i) {
            const unsigned site = static_cast<unsigned>(random() % kSites);
            const auto address = site_address<Bytes>(site);
            const Target target(TargetKind::Subscriber,
                                site + kSites * static_cast<std::uint32_t>(random() % 1000));
            if (present[site] && random() % 2 == 0) {
                lpm->remove(address, kBits);
                present[site] = false;
            } else if (lpm->insert(address, kBits, target) == Lpm<Bytes>::Result::Ok) {
                if (!present[site]) taken += kGroupsPerSite;
                present[site] = true;
            } else {
                lpm->remove(site_address<Bytes>(site ^ 1U), kBits);
                present[site ^ 1U] = false;
                std::this_thread::yield();
            }
            if (i % 1024 == 0) lpm->insert(pool, 12, Target(TargetKind::Pool, 1));
            if (i % 1024 == 512) lpm->remove(pool, 12);
            if (i % 32 == 0) lpm->reclaim();
        }
        return taken;
    }
};

template <std::size_t Bytes>
void run_churn(unsigned operations) {
    auto churn = std::make_unique<Churn<Bytes>>();
    REQUIRE(churn->lpm);
    std::vector<std::thread> readers;
    for (unsigned r = 0; r < kReaders; ++r) readers.emplace_back([&, r] { churn->read(r); });
    for (const auto& rounds : churn->rounds)
        while (rounds.load() == 0) std::this_thread::yield();  // all read while the writer churns
    const std::uint64_t taken = churn->write(operations);
    churn->stop = true;
    for (std::thread& reader : readers) reader.join();
    CHECK(churn->illegal == 0);
    CHECK(churn->subscribers_seen > 0);
    CHECK(taken > 4 * Churn<Bytes>::kGroups);  // groups really were used again
}

}  // namespace

TEST_CASE("IPv4 readers see only legal targets while groups are retired and used again",
          "[threads]") {
    run_churn<4>(40'000);
}

TEST_CASE("IPv6 readers see only legal targets while groups are retired and used again",
          "[threads]") {
    run_churn<16>(40'000);
}
