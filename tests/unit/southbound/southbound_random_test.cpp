#include <catch2/catch.hpp>
#include <random>

#include "tests/unit/southbound/southbound_model.h"
#include "tests/unit/southbound/southbound_records.h"

namespace dr::southbound::test {
namespace {

constexpr std::uint32_t kIds = 24;
constexpr std::uint32_t kPolicies = 4;

// Random transactions over few ids, prefixes and tunnel slots, so that they collide often.
class Generator final {
  public:
    explicit Generator(unsigned seed) : random_(seed) {}

    unsigned below(unsigned n) {
        return std::uniform_int_distribution<unsigned>(0, n - 1)(random_);
    }
    bool one_in(unsigned n) { return below(n) == 0; }

    Txn transaction() {
        Txn txn;
        const unsigned records = 1 + below(6);
        for (unsigned i = 0; i < records; ++i) add_record(&txn);
        return txn;
    }

  private:
    std::string line() { return std::string(1, static_cast<char>('a' + below(7))); }

    std::string some_prefix() {
        // /24 and longer ones nested in it, IPv4 and IPv6.
        const std::string third = std::to_string(below(30));
        switch (below(4)) {
            case 0:
                return "10.0." + third + ".0/24";
            case 1:
                return "10.0." + third + ".128/25";
            case 2:
                return "2001:db8:" + third + "::/48";
            default:
                return "2001:db8:" + third + ":100::/56";
        }
    }

    SubscriberSpec subscriber() {
        SubscriberSpec spec{1 + below(kIds), {}, {}};
        const unsigned prefixes = 1 + below(3);
        for (unsigned i = 0; i < prefixes; ++i) spec.prefixes.push_back(some_prefix());
        const unsigned tunnels = below(4);
        for (unsigned i = 0; i < tunnels; ++i) {
            const std::uint32_t slot = one_in(100) ? 0 : 1 + below(70);
            spec.tunnels.push_back(
                {line(), below(2) << 24 | slot, "198.51.100." + std::to_string(1 + below(3))});
        }
        spec.policy = 1 + below(kPolicies);
        spec.seed = below(3);
        return spec;
    }

    PolicySpec some_policy() {
        PolicySpec spec{1 + below(kPolicies), {}, {}, {}};
        spec.classes.resize(1 + below(3));
        for (auto& tiers : spec.classes) {
            tiers.resize(1 + below(2));
            for (auto& tier : tiers) {
                const unsigned lines = 1 + below(3);
                for (unsigned i = 0; i < lines; ++i)
                    tier.emplace_back(line(), static_cast<std::uint8_t>(1 + below(4)));
            }
        }
        // As drd never does: a number may mean another line with each transaction.
        const unsigned first = below(16);
        for (unsigned i = 0; i < 7; ++i)
            spec.numbers[std::string(1, static_cast<char>('a' + i))] =
                static_cast<std::uint8_t>((first + i * 5) % 16);
        return spec;
    }

    void add_record(Txn* txn) {
        switch (below(10)) {
            case 0:
                txn->put(some_policy());
                break;
            case 1:
                txn->put(PoolSpec{1 + below(3), "10." + std::to_string(below(3)) + ".0.0/16"});
                break;
            case 2:
                txn->drop_subscriber(1 + below(kIds));
                break;
            case 3:
                if (one_in(3)) txn->drop_policy(1 + below(kPolicies));
                if (one_in(3)) txn->drop_pool(1 + below(3));
                if (one_in(10)) txn->add(Type::UpsertSubscriber, Body(below(40)));
                break;
            default:
                txn->put(subscriber());
        }
    }

    std::mt19937 random_;
};

TEST_CASE("after each of thousands of random transactions the tables say what a naive model says") {
    std::string error;
    const auto tables = Tables::create({32, 71, 512, 64, 512, 512, 512, 1024}, &error);
    REQUIRE(tables != nullptr);
    Rib rib(*tables);
    TableWriter writer(*tables, rib);
    Model model;
    Generator random(4908);
    unsigned accepted = 0;
    unsigned refused = 0;
    bool reader_online = false;
    for (unsigned round = 0; round < 8000; ++round) {
        // A reader that stays silent for a while keeps everything retired from being reused.
        if (random.one_in(20)) {
            if (reader_online)
                tables->qsbr.offline(0);
            else
                tables->qsbr.online(0);
            reader_online = !reader_online;
        }
        if (reader_online && random.one_in(2)) tables->qsbr.quiescent(0);
        const bool force = random.one_in(3);
        if (random.one_in(60)) {
            writer.sync_begin();
            model.sync_begin();
        } else if (writer.syncing() && random.one_in(20)) {
            REQUIRE(writer.sync_end(force).ok() == model.sync_end(force));
        } else {
            const Txn txn = random.transaction();
            const Outcome outcome = writer.commit(txn, force);
            INFO("round " << round << ": " << outcome.text);
            // The writer may also be short of rows while a reader is silent.
            if (outcome.status != Status::Full) REQUIRE(outcome.ok() == model.commit(txn, force));
            (outcome.ok() ? accepted : refused) += 1;
        }
        INFO("round " << round);
        REQUIRE(model.compare(*tables, writer) == "");
        if (random.one_in(3)) writer.housekeeping();
    }
    CHECK(accepted > 1000);
    CHECK(refused > 1000);
}

}  // namespace
}  // namespace dr::southbound::test
