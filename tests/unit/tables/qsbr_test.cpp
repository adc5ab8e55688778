#include "dataplane/tables/qsbr.h"

#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

using namespace dr;

TEST_CASE("without online readers a token has passed at once") {
    Qsbr qsbr;
    CHECK(qsbr.passed(qsbr.retire()));
}

TEST_CASE("a token passes when every online reader has been quiescent after it") {
    Qsbr qsbr;
    qsbr.online(0);
    qsbr.online(5);
    const Qsbr::Token token = qsbr.retire();
    CHECK_FALSE(qsbr.passed(token));
    qsbr.quiescent(0);
    CHECK_FALSE(qsbr.passed(token));
    qsbr.quiescent(5);
    CHECK(qsbr.passed(token));
    const Qsbr::Token later = qsbr.retire();
    CHECK(qsbr.passed(token));
    CHECK_FALSE(qsbr.passed(later));
}

TEST_CASE("a quiescent state from before the token does not count") {
    Qsbr qsbr;
    qsbr.online(1);
    qsbr.quiescent(1);
    const Qsbr::Token token = qsbr.retire();
    CHECK_FALSE(qsbr.passed(token));
}

TEST_CASE("a reader that sleeps offline holds nothing up, one that comes back holds nothing old") {
    Qsbr qsbr;
    qsbr.online(2);
    const Qsbr::Token token = qsbr.retire();
    qsbr.offline(2);
    CHECK(qsbr.passed(token));
    qsbr.online(2);
    CHECK(qsbr.passed(token));
    CHECK_FALSE(qsbr.passed(qsbr.retire()));
}

TEST_CASE("safe() is the newest token that has passed") {
    Qsbr qsbr;
    qsbr.online(0);
    const Qsbr::Token first = qsbr.retire();
    qsbr.quiescent(0);
    const Qsbr::Token second = qsbr.retire();
    CHECK(qsbr.safe() >= first);
    CHECK(qsbr.safe() < second);
}

TEST_CASE("no reader ever sees an object after it was freed", "[threads]") {
    struct Object {
        std::atomic<std::uint32_t> alive{1};
    };
    Qsbr qsbr;
    std::array<Object, 64> objects;
    std::atomic<std::uint32_t> published{0};
    std::atomic<bool> stop{false};
    std::atomic<unsigned> dead_seen{0};
    std::atomic<unsigned> rounds{0};  // of all readers
    std::vector<std::thread> readers;
    for (unsigned r = 0; r < 2; ++r) {
        readers.emplace_back([&, r] {
            qsbr.online(r);
            while (!stop.load(std::memory_order_relaxed)) {
                for (int i = 0; i < 32; ++i) {
                    const std::uint32_t index = published.load(std::memory_order_acquire);
                    if (objects[index].alive.load(std::memory_order_relaxed) == 0) ++dead_seen;
                }
                if (++rounds % 8 == 0) {
                    qsbr.offline(r);
                    std::this_thread::yield();  // as a worker that sleeps
                    qsbr.online(r);
                } else {
                    qsbr.quiescent(r);
                }
            }
            qsbr.offline(r);
        });
    }
    while (rounds.load() < 2) std::this_thread::yield();  // a reader is online
    unsigned reused = 0;
    std::vector<std::pair<std::uint32_t, Qsbr::Token>> retired;
    std::vector<std::uint32_t> free;
    for (std::uint32_t i = 1; i < objects.size(); ++i) free.push_back(i);
    while (reused < 10'000 || rounds.load(std::memory_order_relaxed) < 500) {
        if (!free.empty()) {
            const std::uint32_t next = free.back();
            free.pop_back();
            objects[next].alive.store(1, std::memory_order_relaxed);
            const std::uint32_t old = published.exchange(next, std::memory_order_acq_rel);
            retired.emplace_back(old, qsbr.retire());
        }
        const Qsbr::Token safe = qsbr.safe();
        while (!retired.empty() && retired.front().second <= safe) {
            objects[retired.front().first].alive.store(0, std::memory_order_relaxed);
            free.push_back(retired.front().first);
            retired.erase(retired.begin());
            ++reused;
        }
        if (free.empty()) std::this_thread::yield();
    }
    stop = true;
    for (std::thread& reader : readers) reader.join();
    CHECK(dead_seen == 0);
}
