// The lookup table against a naive model, and its limits.
#include <catch2/catch.hpp>

#include "tests/unit/tables/lpm_model.h"

using namespace dr;
using namespace dr::test;

namespace {

using Result4 = Lpm4::Result;

Lpm4::Address address4(unsigned a, unsigned b, unsigned c, unsigned d) {
    return {static_cast<std::uint8_t>(a), static_cast<std::uint8_t>(b),
            static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(d)};
}
Target subscriber(std::uint32_t n) {
    return {TargetKind::Subscriber, n};
}

// One run of random operations; every result is compared with the model's.
template <std::size_t Bytes>
class RandomRun final {
  public:
    using Prefix = typename LpmModel<Bytes>::Prefix;
    using Result = typename Lpm<Bytes>::Result;

    RandomRun(unsigned seed, std::uint32_t groups, std::uint32_t prefixes)
        : random_(seed), lpm_(Lpm<Bytes>::create(groups, prefixes, qsbr_)) {
        REQUIRE(lpm_);
    }
    void step() {
        if (known_.empty() || random_() % 100 < 62)
            insert();
        else
            remove();
        if (random_() % 16 == 0) lpm_->reclaim();
    }
    void check_lookups(unsigned count) {
        for (unsigned i = 0; i < count; ++i) check(crowded_address<Bytes>(random_));
        for (unsigned i = 0; i < count && !known_.empty(); ++i) {
            auto address = known_[random_() % known_.size()].address;
            if (random_() % 2 == 0) address[Bytes - 1] ^= static_cast<std::uint8_t>(random_() % 8);
            check(address);
        }
    }
    // A batch gives what single lookups give.
    void check_batch() {
        std::vector<typename Lpm<Bytes>::Address> addresses(1 + random_() % 256);
        std::vector<const std::uint8_t*> pointers;
        for (auto& address : addresses) {
            address = crowded_address<Bytes>(random_);
            if (!known_.empty() && random_() % 2 == 0)
                address = known_[random_() % known_.size()].address;
            pointers.push_back(address.data());
        }
        std::vector<Target> results(addresses.size());
        lpm_->lookup_batch(pointers.data(), results.data(),
                           static_cast<unsigned>(addresses.size()));
        for (std::size_t i = 0; i < addresses.size(); ++i)
            REQUIRE(results[i].raw() == lpm_->lookup(addresses[i].data()).raw());
    }
    void remove_all() {
        for (const Prefix& p : model_.all()) {
            REQUIRE(lpm_->remove(p.address, p.length) == Result::Ok);
            model_.remove(p);
        }
        known_.clear();
        for (int i = 0; i < 3; ++i) lpm_->reclaim();
        REQUIRE(lpm_->size() == 0);
        REQUIRE(lpm_->groups_used() == 0);
    }
    unsigned refused() const { return refused_; }
    std::size_t size() const { return model_.size(); }

  private:
    void insert() {
        Prefix p{crowded_address<Bytes>(random_), crowded_length<Bytes>(random_)};
        if (!known_.empty() && random_() % 4 == 0) p = known_[random_() % known_.size()];
        const Target target = random_target(random_);
        const Result result = lpm_->insert(p.address, p.length, target);
        Target before;
        if (result == Result::Ok) {
            if (!model_.find(p, &before)) known_.push_back(p);
            model_.insert(p, target);
        } else {
            ++refused_;
            REQUIRE_FALSE(model_.find(p, &before));  // a known prefix can always be changed
        }
        check(p.address);
        REQUIRE(lpm_->size() == model_.size());
    }
    void remove() {
        const std::size_t n = random_() % known_.size();
        const Prefix p = known_[n];
        known_[n] = known_.back();
        known_.pop_back();
        const bool present = model_.remove(p);
        REQUIRE(lpm_->remove(p.address, p.length) == (present ? Result::Ok : Result::NotFound));
        check(p.address);
    }
    void check(const typename Lpm<Bytes>::Address& address) {
        if (lpm_->lookup(address.data()) != model_.lookup(address)) {
            CAPTURE(std::vector<int>(address.begin(), address.end()));
            REQUIRE(lpm_->lookup(address.data()).raw() == model_.lookup(address).raw());
        }
        const unsigned length = crowded_length<Bytes>(random_);
        Target found, expected;
        const bool there = model_.find({address, length}, &expected);
        REQUIRE(lpm_->find(address, length, &found) == there);
        REQUIRE(found == expected);
    }

    std::mt19937 random_;
    Qsbr qsbr_;
    std::unique_ptr<Lpm<Bytes>> lpm_;
    LpmModel<Bytes> model_;
    std::vector<Prefix> known_;
    unsigned refused_ = 0;
};

// A run of one thread tells TSan nothing new and takes it minutes.
#ifdef __SANITIZE_THREAD__
constexpr unsigned kSteps = 1'000;
#else
constexpr unsigned kSteps = 30'000;
#endif

template <std::size_t Bytes>
void run_random(unsigned seed, std::uint32_t groups, std::uint32_t prefixes, bool expect_refusals) {
    WARN("IPv" << (Bytes == 4 ? 4 : 6) << " seed " << seed);
    RandomRun<Bytes> run(seed, groups, prefixes);
    for (unsigned i = 0; i < kSteps; ++i) {
        run.step();
        if (i % 8 == 0) run.check_lookups(2);
        if (i % 64 == 0) run.check_batch();
    }
    run.check_lookups(2000);
    CHECK((run.refused() > 0) == expect_refusals);
    run.remove_all();
    run.check_lookups(500);
}

unsigned fresh_seed() {
    return std::random_device{}();
}

}  // namespace

TEST_CASE("IPv4 lookups agree with a naive model through random inserts, changes and removes") {
    run_random<4>(1, 20'000, 100'000, false);
    run_random<4>(fresh_seed(), 20'000, 100'000, false);
}

TEST_CASE("IPv6 lookups agree with a naive model through random inserts, changes and removes") {
    run_random<16>(2, 200'000, 100'000, false);
    run_random<16>(fresh_seed(), 200'000, 100'000, false);
}

TEST_CASE("a table that runs out of groups or prefixes refuses and stays as it was") {
    run_random<4>(fresh_seed(), 4, 100'000, true);
    run_random<16>(fresh_seed(), 100, 100'000, true);
    run_random<16>(fresh_seed(), 100'000, 20, true);
}

TEST_CASE("an IPv6 prefix that needs more groups than are left takes none") {
    Qsbr qsbr;
    const auto lpm = Lpm6::create(2, 100, qsbr);
    REQUIRE(lpm);
    const Lpm6::Address a{0x20, 0x01, 0x0d, 0xb8, 0, 1};
    CHECK(lpm->insert(a, 48, subscriber(1)) == Lpm6::Result::NoGroups);  // needs three
    CHECK(lpm->groups_used() == 0);
    CHECK(lpm->size() == 0);
    CHECK(lpm->lookup(a.data()) == Target{});
    CHECK(lpm->insert(a, 40, subscriber(2)) == Lpm6::Result::Ok);
    CHECK(lpm->groups_used() == 2);
    CHECK(lpm->lookup(a.data()) == subscriber(2));
    CHECK(lpm->insert(a, 48, subscriber(1)) == Lpm6::Result::NoGroups);
    CHECK(lpm->lookup(a.data()) == subscriber(2));
}

TEST_CASE("a default route and a host route are the longest and the shortest of prefixes") {
    Qsbr qsbr;
    const auto lpm = Lpm4::create(4, 100, qsbr);
    REQUIRE(lpm);
    const auto host = address4(203, 0, 113, 9);
    const auto beside = address4(203, 0, 113, 8);
    const auto edge = address4(255, 255, 255, 255);
    CHECK(lpm->insert(address4(0, 0, 0, 0), 0, Target(TargetKind::NextHop, 1)) == Result4::Ok);
    CHECK(lpm->insert(host, 32, subscriber(7)) == Result4::Ok);
    CHECK(lpm->lookup(host.data()) == subscriber(7));
    CHECK(lpm->lookup(beside.data()) == Target(TargetKind::NextHop, 1));
    CHECK(lpm->lookup(edge.data()) == Target(TargetKind::NextHop, 1));
    CHECK(lpm->remove(address4(0, 0, 0, 0), 0) == Result4::Ok);
    CHECK(lpm->lookup(beside.data()) == Target{});
    CHECK(lpm->lookup(edge.data()) == Target{});
    CHECK(lpm->lookup(host.data()) == subscriber(7));
}

TEST_CASE("host bits of a prefix are ignored") {
    Qsbr qsbr;
    const auto lpm = Lpm4::create(4, 100, qsbr);
    REQUIRE(lpm);
    CHECK(lpm->insert(address4(203, 0, 113, 77), 26, subscriber(1)) == Result4::Ok);
    CHECK(lpm->insert(address4(203, 0, 113, 64), 26, subscriber(2)) == Result4::Ok);
    CHECK(lpm->size() == 1);
    CHECK(lpm->lookup(address4(203, 0, 113, 127).data()) == subscriber(2));
    CHECK(lpm->lookup(address4(203, 0, 113, 63).data()) == Target{});
    CHECK(lpm->remove(address4(203, 0, 113, 99), 26) == Result4::Ok);
    CHECK(lpm->size() == 0);
    CHECK(lpm->remove(address4(203, 0, 113, 99), 26) == Result4::NotFound);
}

TEST_CASE("a group is used again only after every online reader was quiescent") {
    Qsbr qsbr;
    const auto lpm = Lpm4::create(1, 100, qsbr);
    REQUIRE(lpm);
    qsbr.online(0);
    CHECK(lpm->insert(address4(10, 0, 0, 1), 32, subscriber(1)) == Result4::Ok);
    CHECK(lpm->remove(address4(10, 0, 0, 1), 32) == Result4::Ok);
    lpm->reclaim();
    CHECK(lpm->groups_used() == 1);
    CHECK(lpm->insert(address4(10, 0, 1, 1), 32, subscriber(2)) == Result4::NoGroups);
    qsbr.quiescent(0);
    lpm->reclaim();
    CHECK(lpm->groups_used() == 0);
    CHECK(lpm->insert(address4(10, 0, 1, 1), 32, subscriber(2)) == Result4::Ok);
    qsbr.offline(0);
}

TEST_CASE("an insert reclaims by itself what would otherwise make it fail") {
    Qsbr qsbr;
    const auto lpm = Lpm4::create(1, 100, qsbr);
    REQUIRE(lpm);
    for (unsigned i = 0; i < 100; ++i) {
        REQUIRE(lpm->insert(address4(10, 0, i, 1), 32, subscriber(i)) == Result4::Ok);
        REQUIRE(lpm->remove(address4(10, 0, i, 1), 32) == Result4::Ok);
    }
}
