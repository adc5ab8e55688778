// Assigns receive queues to workers, and memory to NUMA nodes.
#include "dataplane/ports/assignment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

#include "base/join.h"

namespace dr {

namespace {

constexpr unsigned kNobody = ~0U;

// The worker with the fewest queues, the first among equals, of those with less than `limit`
// queues. node: only workers on it; below 0: any.
unsigned least_loaded(const Assignment& plan, int node, std::size_t limit) {
    unsigned best = kNobody;
    for (unsigned w = 0; w < plan.queues.size(); ++w) {
        if (node >= 0 && plan.worker_nodes[w] != node) continue;
        if (plan.queues[w].size() >= limit) continue;
        if (best == kNobody || plan.queues[w].size() < plan.queues[best].size()) best = w;
    }
    return best;
}

// The node with the most workers, the lowest among equals.
int main_node(const std::vector<int>& worker_nodes) {
    std::map<int, unsigned> count;
    for (const int node : worker_nodes) ++count[node];
    int best = 0;
    unsigned most = 0;
    for (const auto& [node, workers] : count) {
        if (workers <= most) continue;
        best = node;
        most = workers;
    }
    return best;
}

void deal(const Topology& topology, Assignment* plan) {
    std::size_t total = 0;
    for (const Topology::PortPlace& port : topology.ports) total += port.rx_queues;
    const std::size_t workers = plan->queues.size();
    const std::size_t share = (total + workers - 1) / workers;
    std::vector<RxQueue> far;
    const auto count = static_cast<std::uint16_t>(topology.ports.size());
    for (std::uint16_t port = 0; port < count; ++port) {
        for (std::uint16_t queue = 0; queue < topology.ports[port].rx_queues; ++queue) {
            const unsigned worker = least_loaded(*plan, topology.ports[port].node, share);
            if (worker == kNobody)
                far.push_back({port, queue});
            else
                plan->queues[worker].push_back({port, queue});
        }
    }
    for (const RxQueue& queue : far)
        plan->queues[least_loaded(*plan, -1, total + 1)].push_back(queue);
}

// The node of a port without a node of its own: that of most of its workers.
int node_for(const Topology& topology, const Assignment& plan, std::uint16_t port) {
    if (topology.ports[port].node >= 0) return topology.ports[port].node;
    std::vector<int> nodes;
    for (unsigned w = 0; w < plan.queues.size(); ++w)
        for (const RxQueue& queue : plan.queues[w])
            if (queue.port == port) nodes.push_back(plan.worker_nodes[w]);
    return main_node(nodes);
}

void warn(const Topology& topology, Assignment* plan) {
    const auto count = static_cast<std::uint16_t>(topology.ports.size());
    for (std::uint16_t port = 0; port < count; ++port) {
        const int node = topology.ports[port].node;
        std::vector<unsigned> far;
        for (unsigned w = 0; w < plan->queues.size(); ++w)
            for (const RxQueue& queue : plan->queues[w])
                if (queue.port == port && node >= 0 && plan->worker_nodes[w] != node &&
                    (far.empty() || far.back() != w))
                    far.push_back(w);
        if (!far.empty())
            plan->warnings.push_back(
                fmt::format("port {} is on NUMA node {}, and workers that poll it are on another: "
                            "{}; their CPUs are chosen by \"lcores\"",
                            topology.ports[port].name, node, join(far)));
    }
    for (unsigned w = 0; w < plan->queues.size(); ++w)
        if (plan->queues[w].empty())
            plan->warnings.push_back(fmt::format(
                "worker {} has no receive queue and will forward nothing: give the ports more "
                "\"queues\", or configure fewer workers",
                w));
}

}  // namespace

Assignment assign(const Topology& topology) {
    Assignment plan;
    plan.queues.resize(std::max<std::size_t>(topology.worker_nodes.size(), 1));
    for (const int node : topology.worker_nodes) plan.worker_nodes.push_back(std::max(node, 0));
    plan.worker_nodes.resize(plan.queues.size());
    for (const int node : plan.worker_nodes)
        if (node < 64) plan.table_nodes |= std::uint64_t{1} << node;
    deal(topology, &plan);
    const auto count = static_cast<std::uint16_t>(topology.ports.size());
    for (std::uint16_t port = 0; port < count; ++port)
        plan.pool_nodes.push_back(node_for(topology, plan, port));
    const int home = main_node(plan.worker_nodes);
    const bool home_has_pool =
        std::find(plan.pool_nodes.begin(), plan.pool_nodes.end(), home) != plan.pool_nodes.end();
    plan.own_pool_node = home_has_pool || plan.pool_nodes.empty() ? home : plan.pool_nodes.front();
    plan.one_pool = std::all_of(plan.pool_nodes.begin(), plan.pool_nodes.end(),
                                [&](int node) { return node == plan.own_pool_node; });
    warn(topology, &plan);
    return plan;
}

int node_of_cpu(unsigned cpu, const std::string& root) {
    std::error_code ignored;
    const std::filesystem::path folder = root + "/cpu" + std::to_string(cpu);
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
        int node = 0;
        int end = 0;
        const std::string name = entry.path().filename();
        if (std::sscanf(name.c_str(), "node%d%n", &node, &end) == 1 &&
            static_cast<std::size_t>(end) == name.size())
            return node;
    }
    return 0;
}

}  // namespace dr
