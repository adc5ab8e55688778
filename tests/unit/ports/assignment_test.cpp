#include "dataplane/ports/assignment.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

using namespace dr;

namespace {

std::vector<std::size_t> sizes(const Assignment& plan) {
    std::vector<std::size_t> out;
    for (const auto& queues : plan.queues) out.push_back(queues.size());
    return out;
}

// Queues whose worker is on another node than their port.
unsigned far_queues(const Topology& topology, const Assignment& plan) {
    unsigned far = 0;
    for (std::size_t w = 0; w < plan.queues.size(); ++w)
        for (const RxQueue& queue : plan.queues[w])
            far += topology.ports[queue.port].node >= 0 &&
                   topology.ports[queue.port].node != topology.worker_nodes[w];
    return far;
}

}  // namespace

TEST_CASE("every queue of every port has exactly one worker, and workers share evenly") {
    for (unsigned workers = 1; workers <= 6; ++workers) {
        for (std::uint16_t queues = 1; queues <= 8; ++queues) {
            Topology topology;
            topology.ports = {{"a", 0, queues}, {"b", 1, 3}, {"c", -1, 2}};
            for (unsigned w = 0; w < workers; ++w)
                topology.worker_nodes.push_back(static_cast<int>(w % 2));
            const Assignment plan = assign(topology);
            std::set<std::pair<unsigned, unsigned>> seen;
            std::size_t most = 0;
            for (const auto& mine : plan.queues) {
                most = std::max(most, mine.size());
                for (const RxQueue& queue : mine)
                    CHECK(seen.insert({queue.port, queue.queue}).second);
            }
            CAPTURE(workers, queues);
            CHECK(seen.size() == queues + 5U);
            CHECK(most == (queues + 5U + workers - 1) / workers);
        }
    }
}

TEST_CASE("on two sockets, each port's queues stay with the workers of its socket") {
    const Topology topology{{{"up0", 0, 4}, {"ix0", 1, 4}}, {0, 0, 1, 1}};
    const Assignment plan = assign(topology);
    CHECK(sizes(plan) == std::vector<std::size_t>{2, 2, 2, 2});
    CHECK(far_queues(topology, plan) == 0);
    CHECK(plan.pool_nodes == std::vector<int>{0, 1});
    CHECK(plan.table_nodes == 0b11);
    CHECK_FALSE(plan.one_pool);
    CHECK(plan.warnings.empty());
}

TEST_CASE("workers of the other socket help out when a port's own are too few, with a warning") {
    const Topology topology{{{"up0", 1, 4}}, {0, 0, 1, 1}};
    const Assignment plan = assign(topology);
    CHECK(sizes(plan) == std::vector<std::size_t>{1, 1, 1, 1});
    CHECK(plan.pool_nodes == std::vector<int>{1});
    CHECK(plan.own_pool_node == 1);
    CHECK(plan.one_pool);
    REQUIRE(plan.warnings.size() == 1);
    CHECK(plan.warnings[0].find("port up0 is on NUMA node 1") == 0);
    CHECK(plan.warnings[0].find("another: 0, 1;") != std::string::npos);
}

TEST_CASE("a port on a socket without any worker is warned of, and served") {
    const Topology topology{{{"up0", 0, 1}, {"ix0", 1, 1}}, {0, 0}};
    const Assignment plan = assign(topology);
    CHECK(sizes(plan) == std::vector<std::size_t>{1, 1});
    CHECK(plan.table_nodes == 0b01);
    CHECK(plan.pool_nodes == std::vector<int>{0, 1});
    CHECK(plan.own_pool_node == 0);
    REQUIRE(plan.warnings.size() == 1);
    CHECK(plan.warnings[0].find("ix0") != std::string::npos);
}

TEST_CASE("a software port's buffers are where its workers are") {
    const Assignment plan = assign({{{"up0", -1, 2}}, {1, 1}});
    CHECK(plan.pool_nodes == std::vector<int>{1});
    CHECK(plan.table_nodes == 0b10);
    CHECK(plan.own_pool_node == 1);
    CHECK(plan.worker_nodes == std::vector<int>{1, 1});
    CHECK(plan.warnings.empty());
}

TEST_CASE("on one node all memory is there, in one pool, and nothing is warned of") {
    const Assignment plan = assign({{{"up0", 0, 2}, {"ix0", -1, 2}}, {0, 0}});
    CHECK(plan.one_pool);
    CHECK(plan.table_nodes == 1);
    CHECK(plan.warnings.empty());
    CHECK(sizes(plan) == std::vector<std::size_t>{2, 2});
    for (const auto& mine : plan.queues) {
        // One queue of each port, so that both directions keep every worker busy.
        REQUIRE(mine.size() == 2);
        CHECK(mine[0].port != mine[1].port);
    }
}

TEST_CASE("a worker that gets no queue is warned of") {
    const Assignment plan = assign({{{"up0", 0, 1}}, {0, 0}});
    CHECK(sizes(plan) == std::vector<std::size_t>{1, 0});
    REQUIRE(plan.warnings.size() == 1);
    CHECK(plan.warnings[0].find("worker 1 has no receive queue") == 0);
}

TEST_CASE("a CPU's node is read from its folder, and is 0 where nothing is said") {
    const auto root =
        std::filesystem::temp_directory_path() / ("dr-assignment-test-" + std::to_string(getpid()));
    std::filesystem::create_directories(root / "cpu7" / "node3");
    std::filesystem::create_directories(root / "cpu7" / "node");
    std::filesystem::create_directories(root / "cpu7" / "node4x");
    std::filesystem::create_directories(root / "cpu8" / "topology");
    CHECK(node_of_cpu(7, root) == 3);
    CHECK(node_of_cpu(8, root) == 0);
    CHECK(node_of_cpu(9, root) == 0);
    std::filesystem::remove_all(root);
}
