// Tests of the store: durability, snapshots, one process at a time.
#include "control/store/sqlite.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/control/support.h"

namespace dr::control::test {

TEST_CASE("everything acknowledged before a kill -9 is there after it, and no batch by half") {
    const TemporaryFolder folder;
    int acknowledged[2];
    REQUIRE(::pipe(acknowledged) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::close(acknowledged[0]);
        const auto store = open_sqlite_store(folder.file("db"));
        for (std::uint32_t round = 1;; ++round) {
            Batch batch;
            batch.meta = store->meta();
            batch.meta.revision = round;
            batch.writes.push_back({Kind::Subscriber, 2 * round, "even"});
            batch.writes.push_back({Kind::Subscriber, 2 * round + 1, "odd"});
            store->commit(batch);
            if (::write(acknowledged[1], &round, sizeof round) != sizeof round) ::_exit(1);
        }
    }
    ::close(acknowledged[1]);
    std::uint32_t last = 0;
    while (last < 50) REQUIRE(::read(acknowledged[0], &last, sizeof last) == sizeof last);
    ::kill(child, SIGKILL);
    std::uint32_t more = 0;
    while (::read(acknowledged[0], &more, sizeof more) == sizeof more) last = more;
    ::close(acknowledged[0]);
    ::waitpid(child, nullptr, 0);

    const auto store = open_sqlite_store(folder.file("db"));
    REQUIRE(store->meta().revision >= last);
    std::uint32_t rows = 0;
    store->snapshot()->for_each(Kind::Subscriber, [&](std::uint32_t, std::string_view) {
        ++rows;
        return true;
    });
    CHECK(rows == 2 * store->meta().revision);
}

TEST_CASE("a snapshot does not see what is committed after it") {
    const TemporaryFolder folder;
    const auto store = open_sqlite_store(folder.file("db"));
    const auto snapshot = store->snapshot();
    Batch batch;
    batch.writes.push_back({Kind::Pool, 1, "pool"});
    store->commit(batch);
    bool seen = false;
    snapshot->for_each(Kind::Pool, [&](std::uint32_t, std::string_view) { return seen = true; });
    CHECK_FALSE(seen);
    CHECK(store->read(Kind::Pool, 1) == "pool");
}

TEST_CASE("a store is opened by one process at a time") {
    const TemporaryFolder folder;
    const auto store = open_sqlite_store(folder.file("db"));
    CHECK_THROWS_WITH(open_sqlite_store(folder.file("db")), Catch::Contains("held by another drd"));
}

TEST_CASE("a store keeps what it was told about the data plane and freed slots") {
    const TemporaryFolder folder;
    {
        const auto store = open_sqlite_store(folder.file("db"));
        Batch batch;
        batch.meta = {7, 9, true, 4096, "uuid"};
        batch.freed = {0x01000005, 0x01000006};
        store->commit(batch);
        batch.freed.clear();
        batch.taken = {0x02000005};
        store->commit(batch);
    }
    const auto store = open_sqlite_store(folder.file("db"));
    CHECK(store->meta().revision == 7);
    CHECK(store->meta().next_id == 9);
    CHECK(store->meta().drain);
    CHECK(store->meta().synced_uuid == "uuid");
    CHECK(store->freed_tunnel_ids() == std::vector<std::uint32_t>{0x01000006});
}

}  // namespace dr::control::test
